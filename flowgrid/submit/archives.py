"""The files of a program, packed to travel to the executor that will run it."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

from flowgrid.config import MIB
from flowgrid.errors import ConfigError
from flowgrid.protocol.programs import ARCHIVE_BYTES_MAX

_NOT_TAKEN = ("__pycache__", ".git")


def pack(app: Path, files: Sequence[Path]) -> bytes:
    """A tar file with `app` and `files`, which may be folders, side by side under their own names.

    Links are followed. Raises `ConfigError` for what cannot be read, has the name of another, or is
    too much to travel.
    """
    packed = io.BytesIO()
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
    if packed.tell() > ARCHIVE_BYTES_MAX:
        raise ConfigError(
            f"the program's files take {packed.tell() / MIB:.1f} MiB, packed, and at most "
            f"{ARCHIVE_BYTES_MAX // MIB} travel with it: put data where executors can read it"
        )
    return packed.getvalue()


def name_of(path: Path) -> str:
    """What a file is called on the other side."""
    return path.name or os.path.basename(path.absolute())


def _taken(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if os.path.basename(member.name) in _NOT_TAKEN else member
