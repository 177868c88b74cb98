"""A tree over leaves, cut at its exchanges, as the stage that executors run."""

from __future__ import annotations

from collections.abc import Sequence

from flowgrid.expr.tree import Expr, column
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import (
    IntegerRange,
    Leaf,
    MapBatches,
    Named,
    Node,
    Project,
    Sample,
    Scan,
)
from flowgrid.logical.rendering import steps, topological
from flowgrid.physical.exchanges import StageRead
from flowgrid.physical.layout import TaskShare
from flowgrid.protocol import codec
from flowgrid.protocol.fragment import (
    BlocksLeaf,
    BlocksOutput,
    FileLeaf,
    Fragment,
    Output,
    RangeLeaf,
    TaskInputs,
)
from flowgrid.protocol.fragment import Leaf as FragmentLeaf
from flowgrid.protocol.job_graph import NOTHING, OutputKind, Slice, StageInput, StageSpec

HASH_COLUMN = "#hash"
KEY_COLUMN = "#key"


def with_column(node: Node, name: str, expression: Expr) -> Project:
    """All columns and one more, for the writer to route rows by."""
    kept = tuple(Named(one, column(one)) for one in node.columns)
    return Project(node, (*kept, Named(name, expression)))


def build_stage(
    number: int,
    root: Node,
    tasks: Sequence[TaskShare],
    output: Output,
    seed: int,
    joins_as_written: bool,
) -> StageSpec:
    """The stage that runs `root` once per share and writes to `output`.

    `seed` fixes what random() gives each task; a sample is to be the same in every job.
    """
    leaves = [node for node in topological(root) if isinstance(node, Leaf)]
    names = {leaf: f"#l{index}" for index, leaf in enumerate(leaves)}
    reads = [leaf for leaf in leaves if isinstance(leaf, StageRead)]
    fragment = Fragment(
        leaves=tuple(_fragment_leaf(leaf, names[leaf], reads) for leaf in leaves),
        steps=steps(root, names),
        output=output,
        seed=0 if any(isinstance(node, Sample) for node in topological(root)) else seed,
        joins_as_written=joins_as_written,
    )
    blocks = isinstance(output, BlocksOutput)
    return StageSpec(
        number=number,
        label=label(root),
        partition_count=len(tasks),
        output=OutputKind.BLOCKS if blocks else OutputKind.FILES,
        target_count=output.target_count if isinstance(output, BlocksOutput) else 1,
        inputs=tuple(_stage_input(read, tasks) for read in reads),
        payload=codec.fragments.encode(fragment),
        tasks=_task_inputs(leaves, names, tasks),
        deterministic=all(
            node.deterministic for node in topological(root) if isinstance(node, MapBatches)
        ),
    )


def _fragment_leaf(leaf: Leaf, name: str, reads: Sequence[StageRead]) -> FragmentLeaf:
    match leaf:
        case Scan(dataset=dataset):
            return FileLeaf(
                name, dataset.format, leaf.fields, dataset.fields, dict(dataset.options)
            )
        case StageRead():
            return BlocksLeaf(name, reads.index(leaf), leaf.fields)
        case IntegerRange():
            return RangeLeaf(name, leaf.columns[0])
    raise AssertionError(f"{type(leaf).__name__} is no leaf of a stage")


def _stage_input(read: StageRead, tasks: Sequence[TaskShare]) -> StageInput:
    if read.broadcast:
        return StageInput(read.exchange.stage)
    slices = []
    for task in tasks:
        share = task.get(read, NOTHING)
        assert isinstance(share, Slice)
        slices.append(share)
    return StageInput(read.exchange.stage, tuple(slices))


def _task_inputs(
    leaves: Sequence[Leaf], names: dict[Leaf, str], tasks: Sequence[TaskShare]
) -> tuple[bytes, ...]:
    sources = [leaf for leaf in leaves if not isinstance(leaf, StageRead)]
    if not sources:
        return ()
    encoded = []
    for task in tasks:
        splits = {names[leaf]: task.get(leaf, ()) for leaf in sources}
        encoded.append(codec.task_inputs.encode(TaskInputs(splits)))  # type: ignore[arg-type]
    return tuple(encoded)


def label(root: Node) -> str:
    """What a stage is called where people watch: the functions that run in it, and the verb that
    gives it its shape."""
    node = root
    while isinstance(node, Project) and node.inputs:
        node = node.inputs[0]
    calls = [one for one in topological(root) if isinstance(one, MapBatches) and one is not node]
    text = ", ".join([*(call.label.rpartition(".")[2] for call in calls), node.describe()])
    return text if len(text) <= 60 else text[:59] + "…"


def explain_stage(spec: StageSpec, root: Node, output: str) -> str:
    """The stage as text: what it writes, how many tasks, and its tree."""
    count = f"{spec.partition_count} task" + ("s" if spec.partition_count != 1 else "")
    tree = "\n".join("  " + line for line in explain(root).splitlines())
    return f"stage {spec.number}  {count}  {output}\n{tree}"
