"""What makes two stages the same in two runs of a program, so that one can go on from the other.

A stage's identity is a hash of everything that decides its rows: its fragment with its queries, pickled
functions and seed; the files it reads with their sizes and modification times; its inputs' identities;
and our own version. Rows that the driver gives are identified by their content. When in doubt a stage
has no identity, or another one than before, and is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickletools
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from flowgrid.ids import AttemptId
from flowgrid.io.commit import run_tag
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import MapBatches, Node
from flowgrid.logical.rendering import consumers
from flowgrid.protocol import codec
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.fragment import FileSplit, Fragment, PythonStep, SinkOutput
from flowgrid.protocol.job_graph import StageOutputs, StageSpec
from flowgrid.protocol.versions import local_versions

_READ_BYTES = 1 << 20
_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def seed_of(resume: str, job: int) -> int:
    """What a run of the program draws for its so-manieth job, the same in every run."""
    return int.from_bytes(_digest(resume.encode(), str(job).encode())[:4])


def publication_of(run: str, session: int, job: int, plan: Node) -> str:
    """What a write is called by all drivers of a run.

    It does not depend on its stages, which are others in a cluster of another size. Two equal writes of
    a program differ: each is the so-manieth job of the so-manieth session of its driver.
    """
    numbers = f"{session} {job}".encode()
    functions = [node.function for node in consumers(plan) if isinstance(node, MapBatches)]
    digest = _digest(run.encode(), numbers, explain(plan).encode(), *functions)
    return run_tag(run) + digest.hex()[:16]


class StageIdentities:
    """Identifies the stages of one job, which come in the order of their numbers."""

    def __init__(self) -> None:
        self._known: list[bytes] = []
        self._versions = _encode(local_versions())

    def identified(self, specs: Iterable[StageSpec]) -> tuple[StageSpec, ...]:
        """The same stages, each with its identity."""
        return tuple(map(self._identified, specs))

    def _identified(self, spec: StageSpec) -> StageSpec:
        inputs = [self._known[edge.stage] for edge in spec.inputs]
        identity = b""
        if all(inputs) and _files_are_known(spec):
            with contextlib.suppress(OSError):  # then it has none
                identity = _digest(self._versions, *_decisive(spec), *inputs)
        self._known.append(identity)
        return msgspec.structs.replace(spec, identity=identity)


def _decisive(spec: StageSpec) -> Iterator[bytes]:
    """What decides a stage's rows, without its inputs."""
    payload = b""
    if spec.payload:
        fragment = codec.fragments.decode(spec.payload)
        payload = _without_staging(fragment)
        yield _code_identity(fragment)
    if spec.given is not None:
        yield _content(spec.given)
    yield _encode(msgspec.structs.replace(spec, payload=payload, given=None, identity=b""))


def _digest(*parts: bytes) -> bytes:
    """Of the parts and their lengths."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()


def _files_are_known(spec: StageSpec) -> bool:
    """Whether a changed input file would be seen: not every file system says sizes and times."""
    return all(
        split.size >= 0 and split.modified_ns >= 0
        for task in spec.tasks
        for splits in codec.task_inputs.decode(task).splits.values()
        for split in splits
        if isinstance(split, FileSplit)
    )


def _without_staging(fragment: Fragment) -> bytes:
    """A sink writes the same rows, wherever its staging place is."""
    if isinstance(fragment.output, SinkOutput):
        output = msgspec.structs.replace(fragment.output, staging="")
        fragment = msgspec.structs.replace(fragment, output=output)
    return codec.fragments.encode(fragment)


def _content(given: StageOutputs) -> bytes:
    """Of the driver's own blocks."""
    digest = hashlib.blake2b(digest_size=16)
    name = given.written_as
    assert name is not None, "a driver numbers its own tables"
    for partition, number in enumerate(given.attempts):
        attempt = AttemptId(name.job, name.number, partition, number)
        path = Path(given.executors[given.holders[partition]].directory, file_name(attempt))
        digest.update(path.stat().st_size.to_bytes(8))
        with path.open("rb") as file:
            while part := file.read(_READ_BYTES):
                digest.update(part)
    return digest.digest()


# -- code that does not travel ---------------------------------------------------------------------


def _code_identity(fragment: Fragment) -> bytes:
    """Of the source that functions are pickled by reference to: their modules, and all modules of the
    program's own, because those import each other."""
    functions = [step.function for step in fragment.steps if isinstance(step, PythonStep)]
    if not functions:
        return b""
    named = {name for function in functions for name in _modules_named_in(function)}
    names = sorted(named | set(_own_modules()))
    return _digest(*(part for name in names for part in _source(name)))


def _modules_named_in(pickled: bytes) -> Iterator[str]:
    """The packages of all strings in a pickle that are names of modules; the standard library's
    source is part of Python's version."""
    for _, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str):
            module = argument.split(" ")[0]  # old protocols write module and name as one
            package = module.partition(".")[0]
            if module in sys.modules and package not in sys.stdlib_module_names:
                yield package


def _own_modules() -> Iterator[str]:
    """Packages that are neither installed nor Python's own. `__main__` travels by value."""
    paths = sysconfig.get_paths()
    installed = tuple(
        {paths[key] + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    )
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and not file.startswith(installed):
            package = name.partition(".")[0]
            if package not in ("flowgrid", "flowgrid_executor", "__main__"):
                yield package


def _source(package: str) -> Iterator[bytes]:
    """Name, size and modification time of every Python file of a package or module. Where it lies does
    not count: the driver of a submitted program has its files somewhere else in every run."""
    module = sys.modules.get(package)
    yield package.encode()
    folders: Sequence[str] = list(getattr(module, "__path__", ()))
    files = [(path, folder) for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
    file = getattr(module, "__file__", None)
    if not files and file:
        files = [(Path(file), os.path.dirname(file))]
    for path, folder in files:
        facts = path.stat()
        yield os.fsencode(path.relative_to(folder))
        yield f"{facts.st_size} {facts.st_mtime_ns}".encode()
