"""``python -m flowgrid_executor.driver_main``: becomes the driver of a submitted program.

It unpacks what was submitted, ties its life to the executor's, and then is ``flowgrid submit`` in a
folder of its own, which is also its place for temporary files. The program's path is relative: it is
part of pickled functions, and must be the same wherever the program is started again.
"""

from __future__ import annotations

import os
import sys
import tarfile

from flowgrid_executor.template import die_with

ARCHIVE = "program.tar"
FILES = "files"
TEMPORARY = "tmp"


def main(parent: int, command: list[str]) -> None:
    """In the driver's folder, in which `ARCHIVE` is."""
    die_with(parent)
    try:
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(FILES, filter="data")
        os.unlink(ARCHIVE)
        os.mkdir(TEMPORARY, 0o700)
    except (OSError, tarfile.TarError) as error:
        # Not the program's fault, as an exit code would say: somebody else may have the room.
        print(f"flowgrid: the program cannot be unpacked: {error}", file=sys.stderr, flush=True)
        os.abort()
    os.environ["TMPDIR"] = os.path.abspath(TEMPORARY)
    os.chdir(FILES)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
