"""When two stages are the same in two runs of a program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import msgspec
import pyarrow as pa
import pytest

from flowgrid.logical.nodes import GivenTable, IntegerRange, MapBatches, Write
from flowgrid.protocol import codec
from flowgrid.protocol.fragment import (
    BlocksOutput,
    Field,
    FileSplit,
    Fragment,
    Output,
    PythonStep,
    SinkOutput,
    SqlStep,
    Step,
    TaskInputs,
)
from flowgrid.protocol.job_graph import OutputKind, Slice, StageInput, StageSpec
from flowgrid.submit.given_tables import GivenTables
from flowgrid.submit.identity import StageIdentities, publication_of, seed_of

FILE = FileSplit("orders.parquet", 100, 7)
ONE_BLOCK = BlocksOutput(1, "single")


def stage(
    *steps: Step,
    number: int = 0,
    split: FileSplit = FILE,
    seed: int = 1,
    output: Output = ONE_BLOCK,
    inputs: tuple[StageInput, ...] = (),
) -> StageSpec:
    fragment = Fragment((), steps or (SqlStep("s", "SELECT 1"),), output, seed)
    blocks = isinstance(output, BlocksOutput)
    return StageSpec(
        number,
        "a stage",
        1,
        OutputKind.BLOCKS if blocks else OutputKind.FILES,
        inputs=inputs,
        payload=codec.fragments.encode(fragment),
        tasks=(codec.task_inputs.encode(TaskInputs({"leaf": (split,)})),),
    )


def identities(*specs: StageSpec) -> list[bytes]:
    return [spec.identity for spec in StageIdentities().identified(specs)]


def calling(function: object) -> PythonStep:
    return PythonStep("p", "s", cloudpickle.dumps(function), b"", "a function")


def test_the_same_stage_has_the_same_identity() -> None:
    (one,), (again,) = identities(stage()), identities(stage())
    assert one == again != b""


@pytest.mark.parametrize(
    "other",
    [
        stage(SqlStep("s", "SELECT 2")),
        stage(split=FileSplit("lines.parquet", 100, 7)),
        stage(split=FileSplit("orders.parquet", 101, 7)),
        stage(split=FileSplit("orders.parquet", 100, 8)),
        stage(split=FileSplit("orders.parquet", 100, 7, 0, 5)),
        stage(seed=2),
        stage(output=BlocksOutput(1, "round_robin")),
        msgspec.structs.replace(stage(), deterministic=False),
    ],
    ids=["query", "file", "size", "time", "rows", "seed", "output", "declared"],
)
def test_whatever_decides_the_rows_makes_another_identity(other: StageSpec) -> None:
    assert identities(other) != identities(stage())


def test_another_input_makes_another_identity() -> None:
    reader = stage(number=1, inputs=(StageInput(0),))
    other = stage(SqlStep("s", "SELECT 2"))
    assert identities(stage(), reader)[1] != identities(other, reader)[1]
    sliced = stage(number=1, inputs=(StageInput(0, (Slice(0, 1, 0, 1),)),))
    assert identities(stage(), reader)[1] != identities(stage(), sliced)[1]


def test_a_file_whose_changes_nobody_would_see_has_no_identity_nor_have_its_readers() -> None:
    unknown = stage(split=FileSplit("s3://orders.parquet", 100, -1))
    reader = stage(number=1, inputs=(StageInput(0),))
    assert identities(unknown, reader) == [b"", b""]


def test_a_sink_is_the_same_in_another_staging_place() -> None:
    def to(staging: str, format_: str = "parquet") -> StageSpec:
        return stage(output=SinkOutput(format_, staging))

    assert identities(to("out/1")) == identities(to("out/2"))
    assert identities(to("out/1")) != identities(to("out/1", "csv"))


def test_functions_differ_by_their_code_and_by_what_they_remember() -> None:
    def adding(n: int) -> PythonStep:
        return calling(lambda batch: batch + n)

    assert identities(stage(adding(1))) == identities(stage(adding(1)))
    assert identities(stage(adding(1))) != identities(stage(adding(2)))
    assert identities(stage(calling(lambda b: b + 1))) != identities(stage(calling(lambda b: b)))


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[Path]:
    """A module of the program's own, which is pickled by name, and one that it imports."""
    source = tmp_path / "neighbour_of_the_program.py"
    source.write_text("import imported_by_neighbour\ndef clean(batch): return batch")
    (tmp_path / "imported_by_neighbour.py").write_text("FACTOR = 1")
    sys.path.insert(0, str(tmp_path))
    yield source
    sys.path.remove(str(tmp_path))
    for name in ("neighbour_of_the_program", "imported_by_neighbour"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("changed", ["neighbour_of_the_program.py", "imported_by_neighbour.py"])
def test_a_module_that_does_not_travel_is_part_of_the_identity(
    neighbour: Path, changed: str
) -> None:
    import neighbour_of_the_program  # type: ignore[import-not-found]

    using = stage(calling(neighbour_of_the_program.clean))
    before = identities(using)
    assert identities(using) == before
    os.utime(neighbour.parent / changed, ns=(1, 1))
    assert identities(using) != before


def test_a_program_that_is_run_again_identifies_its_function_again(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import cloudpickle, pyarrow as pa\n"
        "from flowgrid.protocol import codec\n"
        "from flowgrid.protocol.fragment import *\n"
        "from flowgrid.protocol.job_graph import OutputKind, StageSpec\n"
        "from flowgrid.submit.identity import StageIdentities\n"
        "WORDS = {'left', 'right', 'top'}\n"
        "def f(batch, by=pa):\n"
        "    return by.record_batch({'n': [1, 2]})\n"
        "step = PythonStep('p', 's', cloudpickle.dumps(f), b'', 'f')\n"
        "fragment = Fragment((), (step,), BlocksOutput(1, 'single'))\n"
        "payload = codec.fragments.encode(fragment)\n"
        "spec = StageSpec(0, 'f', 1, OutputKind.BLOCKS, payload=payload)\n"
        "print(StageIdentities().identified([spec])[0].identity.hex())\n"
    )

    def run() -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(tmp_path / "app.py")]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        ).stdout

    assert run() == run() != "\n"


def test_given_rows_are_known_by_their_content(tmp_path: Path) -> None:
    def given(*numbers: int) -> bytes:
        tables = GivenTables(tmp_path, None, None)
        try:
            table = pa.table({"n": numbers})
            node = GivenTable((Field("n", "BIGINT"),), table)
            (identity,) = identities(tables.give(0, node))
            return identity
        finally:
            tables.close()

    assert given(1, 2) == given(1, 2) != b""
    assert given(1, 2) != given(2, 1)


def test_every_job_of_a_program_has_a_seed_of_its_own_and_the_same_in_every_run() -> None:
    assert seed_of("nightly", 1) == seed_of("nightly", 1)
    assert len({seed_of(name, n) for name in ("nightly", "daily") for n in range(50)}) == 100


def test_a_write_is_known_by_its_run_its_place_and_what_it_is() -> None:
    def write(path: str = "out", function: bytes = b"f") -> Write:
        rows = IntegerRange((Field("n", "BIGINT"),), 0, 10, 1)
        mapped = MapBatches(rows, function, b"", (Field("n", "BIGINT"),), "f")
        return Write(mapped, path, "parquet", "append")

    named = publication_of("run", 0, 1, write())
    assert named == publication_of("run", 0, 1, write())
    others = [
        publication_of("later", 0, 1, write()),
        publication_of("run", 1, 1, write()),
        publication_of("run", 0, 2, write()),
        publication_of("run", 0, 1, write("elsewhere")),
        publication_of("run", 0, 1, write(function=b"g")),
    ]
    assert len({named, *others}) == 6
