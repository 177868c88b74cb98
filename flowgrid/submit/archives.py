"""The files of a program, packed to travel to the executor that will run it."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowgrid.config import MIB
from flowgrid.errors import ConfigError
from flowgrid.protocol.programs import ARCHIVE_BYTES_MAX

if TYPE_CHECKING:
    from typing_extensions import Buffer

_NOT_TAKEN = ("__pycache__", ".git")


def pack(app: Path, files: Sequence[Path]) -> bytes:
    """A tar file with `app` and `files`, which may be folders, side by side under their own names.

    Links are followed. Raises `ConfigError` for what cannot be read, has the name of another, or is
    too much to travel.
    """
    packed = _Limited()
    names: set[str] = set()
    with tarfile.open(fileobj=packed, mode="w:gz", dereference=True) as archive:
        for path in (app, *files):
            name = name_of(path)
            if name in names:
                raise ConfigError(f"{path}: there is another file called {name!r}")
            names.add(name)
            try:
                archive.add(path, name, filter=_taken)
            except OSError as error:
                reason = f"{error.filename or path}: {error.strerror}"
                raise ConfigError(f"cannot be submitted: {reason}") from None
    return packed.getvalue()


class _Limited(io.BytesIO):
    """Refuses what would be too much to travel when it comes, and not after gigabytes of it."""

    def write(self, data: Buffer, /) -> int:
        written = super().write(data)
        if self.tell() > ARCHIVE_BYTES_MAX:
            raise ConfigError(
                f"the program's files take more than the {ARCHIVE_BYTES_MAX // MIB} MiB, packed, "
                "that travel with it: put data where executors can read it"
            )
        return written


def name_of(path: Path) -> str:
    """What a file is called on the other side."""
    return path.name or os.path.basename(path.absolute())


def _taken(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if os.path.basename(member.name) in _NOT_TAKEN else member
