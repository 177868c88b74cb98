"""Paths as users write them to the files they mean: local or URL, file, directory, glob or list.

Local paths do not go through fsspec, whose import costs as much as pyarrow's, and which rounds
modification times.
"""

from __future__ import annotations

import difflib
import glob
import os
import posixpath
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeAlias, Union

import msgspec

from flowgrid.errors import InputError

Paths: TypeAlias = Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]]


STAGING = "_flowgrid"
MANIFEST = "commit.json"
"""Where jobs stage their files below an output directory, and what is there while one publishes."""

_PUBLISHING_S = 10.0
"""Moving files into place takes milliseconds; who takes longer has died."""

_LOOK_S = 0.02


class DataFile(msgspec.Struct, frozen=True):
    """One file as the driver saw it; -1 for a size or time (ns) that the file system does not say."""

    path: str
    size: int
    modified_ns: int


def list_files(paths: Paths) -> list[DataFile]:
    """The files of all `paths`, in their order, those of one path sorted by name.

    A directory means all files below it but those whose names, or whose directories' names, start
    with ``.`` or ``_``. Raises `InputError` for a path that means no file.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not given:
        raise InputError("no paths to read: the list is empty")
    return [file for path in given for file in _files_of(os.fspath(path))]


def protocol_of(path: str) -> str:
    """The file system's name in a URL; "" for local paths."""
    protocol, separator, _ = path.partition("://")
    return protocol if separator and protocol not in ("file", "local") else ""


def local_path(path: str) -> str:
    """A local path in full, from one that may start with ``file://`` or ``~``."""
    return os.path.abspath(os.path.expanduser(path.partition("://")[2] or path))


def _files_of(path: str) -> list[DataFile]:
    if protocol_of(path):
        return _remote_files(path)
    full = local_path(path)
    if os.path.isfile(full):
        return [_local_file(full)]
    if os.path.isdir(full):
        _await_publication(full, lambda: glob.glob(glob.escape(full) + f"/{STAGING}/*/{MANIFEST}"))
        return [_local_file(found) for found in _some(_walk(full), f"directory {full}")]
    if glob.has_magic(full):
        found = _some(_matches(full), f"pattern {full}")
        return [_local_file(file) for file in found]
    raise InputError(_missing(full))


def _await_publication(where: str, manifests: Callable[[], Collection[object]]) -> None:
    """Old and new files are there together while a job publishes; nobody shall read both."""
    deadline = time.monotonic() + _PUBLISHING_S
    while manifests():
        if time.monotonic() > deadline:
            raise InputError(
                f"{where} is half published by a job that has died: `flowgrid clean {where}` (or the "
                "next job that writes there) finishes it"
            )
        time.sleep(_LOOK_S)


def _some(found: Iterable[str], where: str) -> list[str]:
    files = list(found)
    if not files:
        raise InputError(f"{where} holds no files to read (hidden and _ files do not count)")
    return files


def _matches(pattern: str) -> Iterable[str]:
    """The files that a glob means, each once; names it spells out may be hidden, others may not."""
    spelled = {part for part in pattern.split("/") if not glob.has_magic(part)}
    found = {
        file
        for match in glob.glob(pattern, recursive=True)
        if all(part in spelled or _visible(part) for part in match.split("/"))
        for file in (_walk(match) if os.path.isdir(match) else [match])
    }
    return sorted(found)


def _walk(root: str) -> Iterable[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(filter(_visible, folders))
        yield from (os.path.join(folder, name) for name in sorted(files) if _visible(name))


def _visible(path: str) -> bool:
    name = os.path.basename(path)
    # A partition directory may be named after a column such as _day: "_day=1" is data.
    return not name.startswith(".") and (not name.startswith("_") or "=" in name)


def _local_file(path: str) -> DataFile:
    found = os.stat(path)
    return DataFile(path, found.st_size, found.st_mtime_ns)


def _missing(path: str) -> str:
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        return f"{path} does not exist, and neither does its directory"
    near = difflib.get_close_matches(name, os.listdir(folder), n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"{path} does not exist{hint}"


def _remote_files(path: str) -> list[DataFile]:
    import fsspec

    protocol = protocol_of(path)
    try:
        filesystem, inner = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if glob.has_magic(inner):
        found = filesystem.glob(inner, detail=True)
    else:
        found = filesystem.find(inner, detail=True)
    files = sorted(
        (info for info in found.values() if info["type"] == "file" and _all_visible(info, inner)),
        key=lambda info: str(info["name"]),
    )
    if not files:
        raise InputError(f"{path} does not exist, or holds no files to read")
    return [
        DataFile(f"{protocol}://{info['name'].lstrip('/')}", int(info.get("size") or -1), -1)
        for info in files
    ]


def _all_visible(info: dict[str, str], root: str) -> bool:
    below = posixpath.relpath(info["name"], root.split("*")[0] or "/")
    return all(_visible(part) for part in below.split("/") if part not in (".", ".."))


def written_at(info: dict[str, Any]) -> float | None:
    """When a file was written, in seconds of the wall clock: file systems have several words for it."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        at = info.get(name)
        if at is not None:
            return float(at.timestamp() if isinstance(at, datetime) else at)
    return None
