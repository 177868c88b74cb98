"""Output appears all at once or not at all: attempts write to a staging place, the driver publishes.

Attempts write below ``<path>/_flowgrid/<token>/``, which readers skip. The commit point is the moment
when ``commit.json`` appears there: it lists every file to move into place and every old one to remove.
Before it nothing is visible; after it anybody can finish the work (`resume`), any number of times:
what has been moved or removed is not there to be moved or removed again. Files on a local disk are
durable before the commit point, and old ones go when the new ones are in place. Commits to one local
directory take turns, from looking what is there to the last rename; two to one place of an
object store at the same moment may both be published.

While files are moved, FlowGrid's own readers wait (`flowgrid.io.listing`); others can tell by
``_SUCCESS``, which goes first and comes back last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import os
import posixpath
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from flowgrid.errors import ConfigError, OutputExistsError
from flowgrid.ids import AttemptId
from flowgrid.io.listing import MANIFEST, STAGING, local_path, protocol_of, written_at
from flowgrid.io.staging_owner import OWNER_FILE, Claim, Life, life_of, owner_of, turn
from flowgrid.protocol.reports import WrittenFile

MODES = ("error", "overwrite", "append")

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
    claim: Claim | None = None
    """On a local file system: what says that this job lives."""

    @property
    def url(self) -> str:
        return posixpath.join(self.path, STAGING, self.token)


def prepare(path: str, mode: str, run: str = "") -> Staging:
    """A new staging place for output at `path`, which is this process's until `commit` or `abort`.

    Finishes a commit that was interrupted there, and removes what dead jobs left. Raises
    `OutputExistsError` if `mode` is "error" and the directory holds anything that is not of this `run`,
    and `ConfigError` for an unknown mode.
    """
    check_mode(mode)
    full = path if protocol_of(path) else local_path(path)
    output = _Output(full)
    for token in output.tokens():
        _clean_one(output, token, math.inf, dry_run=False)
    # What an earlier driver of this run has written may be this very write: `commit` will know.
    if not (run and output.has_files_of(run_tag(run))):
        _refuse_existing(output, mode)
    staging = Staging(full, uuid.uuid4().hex[:12], tuple(output.missing_folders()))
    return dataclasses.replace(staging, claim=output.claim(staging.token, staging.missing))


def check_mode(mode: str) -> None:
    """Raise `ConfigError` for a mode that there is not."""
    if mode not in MODES:
        raise ConfigError(f"mode={mode!r} is none of {', '.join(MODES)}")


def run_tag(run: str) -> str:
    """By what files of a run are known: all its publications begin so."""
    return hashlib.blake2b(run.encode(), digest_size=4).hexdigest()


def commit(
    staging: Staging,
    files: Iterable[tuple[AttemptId, WrittenFile]],
    mode: str,
    publication: str = "",
) -> None:
    """Publish the files that the job's attempts wrote. Raises `OutputExistsError` as `prepare`.

    A `publication` is what this write is called by all drivers of its run: if files of that name are
    there already, an earlier driver has published it, and nothing is published again.
    """
    output = _Output(staging.path)
    with output.turn():
        for token in output.tokens():
            output.roll_forward(token)  # whose turn it was has ended, in good order or not
        if publication and output.has_files_of(publication):
            abort(staging)
            return
        _publish(output, staging, files, mode, publication or staging.token)
    if staging.claim is not None:
        staging.claim.release()


def _publish(
    output: _Output,
    staging: Staging,
    files: Iterable[tuple[AttemptId, WrittenFile]],
    mode: str,
    name: str,
) -> None:
    _refuse_existing(output, mode)
    renames = tuple(
        (
            posixpath.join(STAGING, staging.token, attempt_folder(attempt), file.path),
            final_name(file.path, name),
        )
        for attempt, file in files
    )
    removals = tuple(output.visible_files()) if mode == "overwrite" else ()
    output.make_durable(source for source, _ in renames)
    output.write_manifest(staging.token, Manifest(renames, removals))
    output.roll_forward(staging.token)


def abort(staging: Staging) -> None:
    """Remove what a failed job left, and the directories that it created if they are empty.

    A commit that has passed its commit point is not undone: `resume` or the next job finishes it. So
    they do if a disk refuses the removal; why the job failed is what its caller wants to hear.
    """
    if staging.claim is not None:
        staging.claim.release()
    output = _Output(staging.path)
    if not output.has_manifest(staging.token):
        with contextlib.suppress(OSError):
            output.remove_staging(staging.token)
            output.remove_empty(staging.missing)


def resume(path: str) -> None:
    """Finish every interrupted commit below `path`, and remove the staging places of dead jobs.

    Not while a job writes there that this machine knows nothing about: its staging place looks like a
    dead one's.
    """
    clean(path, older_than_s=0.0)


@dataclass(frozen=True)
class Cleaned:
    """What `clean` did with a staging place: finished, removed or kept, and why."""

    path: str
    what: str
    why: str


def clean(path: str, older_than_s: float, dry_run: bool = False) -> list[Cleaned]:
    """Finish the interrupted commits of an output directory, and remove the staging places of its dead
    jobs. A job whose life is not known counts as dead when it has written nothing for `older_than_s`.
    """
    output = _Output(path if protocol_of(path) else local_path(path))
    cleaned = [_clean_one(output, token, older_than_s, dry_run) for token in output.tokens()]
    if not dry_run:
        output.remove_empty([posixpath.join(output.path, STAGING)])
    return cleaned


def _clean_one(output: _Output, token: str, older_than_s: float, dry_run: bool) -> Cleaned:
    place = posixpath.join(output.path, STAGING, token)
    life, age_s = output.life(token), output.age_s(token, time.time())
    if life is Life.ALIVE:
        return Cleaned(place, "kept", "its job runs")
    if output.has_manifest(token):
        if not dry_run:
            output.roll_forward(token)
        return Cleaned(place, "finished", "it had been committed, and nobody published it")
    if life is Life.UNKNOWN and age_s < older_than_s:
        return Cleaned(place, "kept", f"its job may run: something was written {age_s:.0f} s ago")
    known = "its driver is gone" if life is Life.GONE else f"nothing was written for {age_s:.0f} s"
    if not dry_run:
        made = output.made(token)
        output.remove_staging(token)
        output.remove_empty(made)
    return Cleaned(place, "removed", known)


def attempt_folder(attempt: AttemptId) -> str:
    """The folder of one attempt in the staging place."""
    return f"{attempt.stage}-{attempt.partition}-{attempt.number}"


def final_name(path: str, token: str) -> str:
    """The published path of an attempt's file: no other job ever takes the same one."""
    folder, name = posixpath.split(path)
    stem, extension = posixpath.splitext(name)
    return posixpath.join(folder, f"{stem}-{token}{extension}")


def _token_of(path: str) -> str:
    """The token of a published file's name, by `final_name`; anything of somebody else's."""
    return posixpath.splitext(path)[0].rpartition("-")[2]


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
        folder = self._at(STAGING)
        if not self._files.isdir(folder):
            return []
        return sorted(posixpath.basename(found.rstrip("/")) for found in self._listed(folder))

    def has_manifest(self, token: str) -> bool:
        return bool(self._files.exists(self._at(STAGING, token, MANIFEST)))

    def visible_files(self) -> Iterator[str]:
        """Every file that is there already, relative to the directory; staging places do not count."""
        if self._files.isfile(self._root):
            yield posixpath.basename(self._root)
            return
        for found in sorted(self._files.find(self._root)):
            relative = posixpath.relpath(found, self._root)
            if not relative.startswith(STAGING + "/"):
                yield relative

    def has_files_of(self, name: str) -> bool:
        """Whether files whose token begins so are there, or will be as soon as a commit is finished."""
        return any(_token_of(path).startswith(name) for path in self._published())

    def _published(self) -> Iterator[str]:
        yield from self.visible_files()
        for token in filter(self.has_manifest, self.tokens()):
            with contextlib.suppress(FileNotFoundError):  # it has just been finished
                yield from (target for _, target in self._manifest(token).renames)

    def _manifest(self, token: str) -> Manifest:
        data = self._files.cat_file(self._at(STAGING, token, MANIFEST))
        return msgspec.json.decode(data, type=Manifest)

    def missing_folders(self) -> list[str]:
        if not self._local:
            return []
        missing: list[str] = []
        folder = self._root
        while not os.path.isdir(folder):
            missing.insert(0, folder)
            folder = os.path.dirname(folder)
        return missing

    def claim(self, token: str, made: tuple[str, ...]) -> Claim | None:
        """Make the staging place and hold it, where that can be."""
        return Claim(self._at(STAGING, token), made) if self._local else None

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """Commits to a local directory take turns; object stores have no locks."""
        return turn(self._at(STAGING)) if self._local else contextlib.nullcontext()

    def life(self, token: str) -> Life:
        """Whether the job of a staging place still lives."""
        return life_of(self._at(STAGING, token)) if self._local else Life.UNKNOWN

    def made(self, token: str) -> tuple[str, ...]:
        """The folders that a job had to make on the way to its output."""
        owner = owner_of(self._at(STAGING, token)) if self._local else None
        return owner.made if owner is not None else ()

    def age_s(self, token: str, now: float) -> float:
        """Seconds since anything was written in a staging place; 0 if nobody knows."""
        found = self._files.find(self._at(STAGING, token), withdirs=True, detail=True)
        written = [at for at in map(written_at, found.values()) if at is not None]
        return max(0.0, now - max(written)) if written else 0.0

    def make_durable(self, sources: Iterable[str]) -> None:
        """What was written survives a fall of the machine: object stores see to it themselves."""
        for source in sources if self._local else ():
            _sync(self._at(source))

    def write_manifest(self, token: str, manifest: Manifest) -> None:
        """The commit point: the manifest is there, whole and durable, or it is not."""
        data = msgspec.json.encode(manifest)
        target = self._at(STAGING, token, MANIFEST)
        if not self._local:
            self._files.pipe_file(target, data)  # object stores show a new object when it is whole
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target + ".tmp", "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(target + ".tmp", target)
        _sync(os.path.dirname(target))

    def roll_forward(self, token: str) -> None:
        """Do what the manifest says and is not yet done, then remove the staging place. Nothing without
        a manifest: there was no commit, or somebody has finished it."""
        try:
            manifest = self._manifest(token)
        except FileNotFoundError:
            return
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._at(_SUCCESS))
        for source, target in manifest.renames:
            self._rename(self._at(source), self._at(target))
        if self._local and manifest.removals:
            for folder in {posixpath.dirname(target) for _, target in manifest.renames}:
                _sync(self._at(folder))
        for removed in manifest.removals:
            with contextlib.suppress(FileNotFoundError):
                self._files.rm_file(self._at(removed))
        if self._local:
            self._remove_empty_partitions(manifest.removals)
        self._files.pipe_file(self._at(_SUCCESS), b"")
        self.remove_staging(token)

    def remove_staging(self, token: str) -> None:
        """Remove a job's staging place, so that it can be resumed at any step: what says that it is
        committed goes after its files, and what says whose it is goes last."""
        folder = self._at(STAGING, token)
        if self._files.exists(folder):
            last = [self._at(STAGING, token, name) for name in (MANIFEST, OWNER_FILE)]
            for found in self._listed(folder):
                if posixpath.basename(found.rstrip("/")) not in (MANIFEST, OWNER_FILE):
                    self._remove(found)
            for found in (*last, folder):
                self._remove(found)
        self.remove_empty([self._at(STAGING)])

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
        with contextlib.suppress(FileNotFoundError):  # somebody rolls forward beside us
            (os.replace if self._local else self._files.mv)(source, target)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # somebody removes it beside us
            self._files.rm(path, recursive=True)

    def _listed(self, folder: str) -> list[Any]:
        return [found for found in self._files.ls(folder, detail=False) if found != folder]

    def _at(self, *parts: str) -> str:
        return posixpath.join(self._root, *parts)


def _sync(path: str) -> None:
    """A file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
