"""Output appears all at once or not at all: attempts write to a staging place, the driver publishes.

Attempts write below ``<path>/_flowgrid/<token>/``, which readers skip. The commit point is the moment
when ``commit.json`` appears there: it lists every file to move into place and every old one to remove.
Before it nothing is visible; after it anybody can finish the work (`resume`), any number of times:
what has been moved or removed is not there to be moved or removed again.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from flowgrid.errors import ConfigError, OutputExistsError
from flowgrid.ids import AttemptId
from flowgrid.io.listing import local_path, protocol_of
from flowgrid.protocol.reports import WrittenFile

MODES = ("error", "overwrite", "append")

_STAGING = "_flowgrid"
_MANIFEST = "commit.json"
_SUCCESS = "_SUCCESS"


class Manifest(msgspec.Struct, frozen=True):
    """What a commit does, relative to the output directory: (from, to) renames, then removals."""

    renames: tuple[tuple[str, str], ...]
    removals: tuple[str, ...]


@dataclass(frozen=True)
class Staging:
    """Where the attempts of one job write. `path` and `url` are absolute; `url` is below `path`."""

    path: str
    token: str
    missing: tuple[str, ...]
    """Directories on the way to `path` that were not there, the outermost first."""

    @property
    def url(self) -> str:
        return posixpath.join(self.path, _STAGING, self.token)


def prepare(path: str, mode: str) -> Staging:
    """A new staging place for output at `path`; creates nothing.

    Finishes a commit that was interrupted there. Raises `OutputExistsError` if `mode` is "error" and
    the directory holds anything, and `ConfigError` for an unknown mode.
    """
    check_mode(mode)
    full = path if protocol_of(path) else local_path(path)
    output = _Output(full)
    for token in output.tokens():
        if output.has_manifest(token):
            output.roll_forward(token)
    _refuse_existing(output, mode)
    return Staging(full, uuid.uuid4().hex[:12], tuple(output.missing_folders()))


def check_mode(mode: str) -> None:
    """Raise `ConfigError` for a mode that there is not."""
    if mode not in MODES:
        raise ConfigError(f"mode={mode!r} is none of {', '.join(MODES)}")


def commit(staging: Staging, files: Iterable[tuple[AttemptId, WrittenFile]], mode: str) -> None:
    """Publish the files that the job's attempts wrote. Raises `OutputExistsError` as `prepare`."""
    output = _Output(staging.path)
    _refuse_existing(output, mode)
    renames = tuple(
        (
            posixpath.join(_STAGING, staging.token, attempt_folder(attempt), file.path),
            final_name(file.path, staging.token),
        )
        for attempt, file in files
    )
    removals = tuple(output.visible_files()) if mode == "overwrite" else ()
    output.write_manifest(staging.token, Manifest(renames, removals))
    output.roll_forward(staging.token)


def abort(staging: Staging) -> None:
    """Remove what a failed job left, and the directories that it created if they are empty.

    A commit that has passed its commit point is not undone: `resume` or the next job finishes it.
    """
    output = _Output(staging.path)
    if output.has_manifest(staging.token):
        return
    output.remove_staging(staging.token)
    output.remove_empty(staging.missing)


def resume(path: str) -> None:
    """Finish every interrupted commit below `path`, and remove the staging places of dead jobs.

    Not while a job still writes there: its staging place looks like a dead one's.
    """
    output = _Output(path if protocol_of(path) else local_path(path))
    for token in output.tokens():
        if output.has_manifest(token):
            output.roll_forward(token)
        else:
            output.remove_staging(token)
    output.remove_empty([posixpath.join(output.path, _STAGING)])


def attempt_folder(attempt: AttemptId) -> str:
    """The folder of one attempt in the staging place."""
    return f"{attempt.stage}-{attempt.partition}-{attempt.number}"


def final_name(path: str, token: str) -> str:
    """The published path of an attempt's file: no other job ever takes the same one."""
    folder, name = posixpath.split(path)
    stem, extension = posixpath.splitext(name)
    return posixpath.join(folder, f"{stem}-{token}{extension}")


def _refuse_existing(output: _Output, mode: str) -> None:
    if mode == "error" and (found := next(output.visible_files(), None)) is not None:
        raise OutputExistsError(
            f"{output.path} is not empty (it holds {found}): "
            'choose another path, or mode="overwrite" or mode="append"'
        )


class _Output:
    """An output directory on its file system; every step can be repeated."""

    def __init__(self, path: str) -> None:
        import fsspec  # 0.1 s: sessions that never write do not pay for it

        self.path = path
        self._local = not protocol_of(path)
        self._files, self._root = fsspec.core.url_to_fs(path)
        # Listings must show what attempts wrote a moment ago.
        self._files.invalidate_cache()

    def tokens(self) -> list[str]:
        """The jobs that have a staging place here."""
        folder = self._at(_STAGING)
        if not self._files.isdir(folder):
            return []
        return sorted(posixpath.basename(found.rstrip("/")) for found in self._listed(folder))

    def has_manifest(self, token: str) -> bool:
        return bool(self._files.exists(self._at(_STAGING, token, _MANIFEST)))

    def visible_files(self) -> Iterator[str]:
        """Every file that is there already, relative to the directory; staging places do not count."""
        if self._files.isfile(self._root):
            yield posixpath.basename(self._root)
            return
        for found in sorted(self._files.find(self._root)):
            relative = posixpath.relpath(found, self._root)
            if not relative.startswith(_STAGING + "/"):
                yield relative

    def missing_folders(self) -> list[str]:
        if not self._local:
            return []
        missing: list[str] = []
        folder = self._root
        while not os.path.isdir(folder):
            missing.insert(0, folder)
            folder = os.path.dirname(folder)
        return missing

    def write_manifest(self, token: str, manifest: Manifest) -> None:
        """The commit point: the manifest is there, whole and durable, or it is not."""
        data = msgspec.json.encode(manifest)
        target = self._at(_STAGING, token, _MANIFEST)
        if not self._local:
            self._files.pipe_file(target, data)  # object stores show a new object when it is whole
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target + ".tmp", "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(target + ".tmp", target)
        _sync_folder(os.path.dirname(target))

    def roll_forward(self, token: str) -> None:
        """Do what the manifest says and is not yet done, then remove the staging place."""
        data = self._files.cat_file(self._at(_STAGING, token, _MANIFEST))
        manifest = msgspec.json.decode(data, type=Manifest)
        for source, target in manifest.renames:
            self._rename(self._at(source), self._at(target))
        for removed in manifest.removals:
            with contextlib.suppress(FileNotFoundError):
                self._files.rm_file(self._at(removed))
        if self._local:
            self._remove_empty_partitions(manifest.removals)
        self._files.pipe_file(self._at(_SUCCESS), b"")
        self.remove_staging(token)

    def remove_staging(self, token: str) -> None:
        """Remove a job's staging place; the manifest goes last, so that this can be resumed too."""
        folder = self._at(_STAGING, token)
        if self._files.exists(folder):
            for found in self._listed(folder):
                if posixpath.basename(found.rstrip("/")) != _MANIFEST:
                    self._files.rm(found, recursive=True)
            self._files.rm(folder, recursive=True)
        self.remove_empty([self._at(_STAGING)])

    def remove_empty(self, folders: Iterable[str]) -> None:
        """Remove the innermost folders first, as far as they are empty and local."""
        if self._local:
            for folder in reversed(list(folders)):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)

    def _remove_empty_partitions(self, removed: Iterable[str]) -> None:
        for folder in {posixpath.dirname(path) for path in removed}:
            parts = folder.split("/") if folder else []
            self.remove_empty(self._at(*parts[: depth + 1]) for depth in range(len(parts)))

    def _rename(self, source: str, target: str) -> None:
        if not self._files.exists(source):
            return  # a former roll-forward moved it
        self._files.makedirs(posixpath.dirname(target), exist_ok=True)
        if self._local:
            os.replace(source, target)
        else:
            self._files.mv(source, target)

    def _listed(self, folder: str) -> list[Any]:
        return [found for found in self._files.ls(folder, detail=False) if found != folder]

    def _at(self, *parts: str) -> str:
        return posixpath.join(self._root, *parts)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
