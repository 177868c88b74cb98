"""A plan's stages as they would be if every estimate were right: what `explain("stages")` shows."""

from __future__ import annotations

from flowgrid.logical.nodes import GivenTable, Node
from flowgrid.physical.layout import Shape
from flowgrid.physical.planner import Planner
from flowgrid.protocol.job_graph import OutputKind, StageSpec, StageStatistics


def rehearse(plan: Node, shape: Shape, note: str = "") -> str:
    """The stages as text; nothing is submitted, nothing written."""
    planner = Planner(plan, shape, _give, note=note)
    while True:
        step = planner.advance()
        if step.complete:
            return planner.explain()
        for stage in step.stages:
            size = planner.book.estimate(stage.number)
            share = 1.0 / stage.target_count
            planner.finished(
                stage.number,
                StageStatistics(
                    (int(size.rows * share),) * stage.target_count,
                    (int(size.bytes * share),) * stage.target_count,
                ),
            )


def _give(number: int, node: GivenTable) -> StageSpec:
    """The stage of a driver's table, as one partition."""
    return StageSpec(
        number=number,
        label=node.describe(),
        partition_count=1,
        output=OutputKind.BLOCKS,
        given_rows=((node.table.num_rows,),),
    )
