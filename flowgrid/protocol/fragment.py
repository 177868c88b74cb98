"""What one task does, as a slot sees it: leaves, steps over them, and one output.

A fragment travels once per executor as `StageSpec.payload`; what differs between its tasks travels in
`StageSpec.tasks`, one `TaskInputs` each. Relations have names: a leaf or a step is read by the SQL of
later steps under its own name, quoted. Every step is read by exactly one later step, or is the last.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class Field(msgspec.Struct, frozen=True, array_like=True):
    """A column: its name and its type in the kernel's own words, such as ``DECIMAL(15,2)``."""

    name: str
    type: str


class FileLeaf(msgspec.Struct, frozen=True, tag="files"):
    """Rows of files. `columns` are those to read; `file_schema` is what every file must have.

    `format` is parquet, csv, json, ipc or text. `options` are arguments of the kernel's reader,
    already as SQL literals (``{"delim": "';'"}``).
    """

    name: str
    format: str
    columns: tuple[Field, ...]
    file_schema: tuple[Field, ...]
    options: dict[str, str] = {}


class BlocksLeaf(msgspec.Struct, frozen=True, tag="blocks"):
    """Blocks of an upstream stage: `input` indexes `StageSpec.inputs`."""

    name: str
    input: int
    columns: tuple[Field, ...]


class RangeLeaf(msgspec.Struct, frozen=True, tag="range"):
    """The integers of the task's `RangeSplit`s, as one BIGINT column."""

    name: str
    column: str


Leaf: TypeAlias = FileLeaf | BlocksLeaf | RangeLeaf


class SqlStep(msgspec.Struct, frozen=True, tag="sql"):
    """One query of the kernel, in DuckDB's dialect, over the leaves and steps it names."""

    name: str
    sql: str


class PythonStep(msgspec.Struct, frozen=True, tag="python"):
    """The user's function over the batches of one earlier relation.

    `function` is cloudpickled and only ever loaded in a slot. `schema` is the Arrow schema of the
    result as an IPC message. `mode` is "batches" (table or batch in, the same or an iterator out),
    `batch_rows` the rows per call, 0 for batches as they come.
    """

    name: str
    input: str
    function: bytes
    schema: bytes
    label: str
    mode: str = "batches"
    batch_rows: int = 0


Step: TypeAlias = SqlStep | PythonStep


class BlocksOutput(msgspec.Struct, frozen=True, tag="blocks"):
    """Rows into `target_count` blocks.

    `partitioning` is "hash" (`column` holds a UBIGINT hash of the keys; its high bits choose),
    "range" (`column` holds a sort key, and the last leaf has one row: a list of the keys at which
    targets begin, all but the first), "round_robin" or "single". `column` is not written. `numbered`
    is a BIGINT column that is written as the row's target.
    """

    target_count: int
    partitioning: str
    column: str = ""
    numbered: str = ""


class SinkOutput(msgspec.Struct, frozen=True, tag="sink"):
    """Rows into files below ``staging/<attempt>``; commit moves them, never the attempt itself.

    `staging` is an fsspec URL. `partition_by` columns become directories ``column=value`` and are not
    written into the files. `options` are arguments of the format's writer, as text.
    """

    format: str
    staging: str
    partition_by: tuple[str, ...] = ()
    options: dict[str, str] = {}


Output: TypeAlias = BlocksOutput | SinkOutput


class Fragment(msgspec.Struct, frozen=True):
    """Everything that the tasks of a stage share. The last step's rows go to `output`.

    `joins_as_written` keeps the kernel from ordering joins: the planner has, by sizes that the kernel
    cannot see in a stream of blocks. The right side of a join is then the one that is built.
    """

    leaves: tuple[Leaf, ...]
    steps: tuple[Step, ...]
    output: Output
    seed: int = 0
    joins_as_written: bool = False


class FileSplit(msgspec.Struct, frozen=True, tag="file"):
    """Rows [`row_start`, `row_stop`) of a file, or all of it when `row_stop` is -1.

    `size` and `modified_ns` are what the driver saw; a file that differs is a named error.
    -1 in either means that the file system did not say.
    """

    path: str
    size: int
    modified_ns: int
    row_start: int = 0
    row_stop: int = -1


class RangeSplit(msgspec.Struct, frozen=True, tag="range"):
    """The integers of Python's ``range(start, stop, step)``."""

    start: int
    stop: int
    step: int


Split: TypeAlias = FileSplit | RangeSplit


class TaskInputs(msgspec.Struct, frozen=True):
    """What one task reads of files and ranges: leaf name to splits. Blocks come by `StageInput`."""

    splits: dict[str, tuple[Split, ...]] = {}
