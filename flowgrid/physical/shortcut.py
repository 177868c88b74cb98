"""Small inputs: the whole plan as one task, even where there are slots for many.

A task takes some milliseconds and an exchange some tens of them; a kernel reads what
`planner.single_task_bytes_max` allows in less time than the stages of a plan take to follow each other.

The optimizer is imported inside functions: one slot does without it.
"""

from __future__ import annotations

import msgspec

from flowgrid.config import MIB
from flowgrid.expr.tree import conjuncts
from flowgrid.logical.nodes import (
    Filter,
    GivenTable,
    IntegerRange,
    MapBatches,
    Node,
    Repartition,
    Scan,
)
from flowgrid.logical.rendering import topological
from flowgrid.physical.layout import Shape

_GROWTH_MAX = 16
"""A plan may make so many times the limit on its way, by estimate: joins can multiply rows."""


def input_bytes(plan: Node, limit: float) -> float:
    """Bytes of the columns and row groups that an optimised plan reads; counting ends at `limit`."""
    nodes = topological(plan)
    filters: dict[Node, list[Filter]] = {}
    for node in nodes:
        if isinstance(node, Filter):
            filters.setdefault(node.input, []).append(node)
    found = 0.0
    for node in nodes:
        match node:
            case Scan():
                above = filters.get(node, [])
                predicates = list(conjuncts(above[0].predicate)) if len(above) == 1 else []
                found += node.dataset.read_bytes(node.columns, predicates, limit - found)
            case GivenTable():
                found += node.table.nbytes
            case IntegerRange():
                found += 8 * len(range(node.start, node.stop, node.step))
        if found > limit:
            break
    return found


class Prepared(msgspec.Struct, frozen=True):
    """A plan as the planner gets it, and for how many slots; `note` says why not for all there are."""

    plan: Node
    shape: Shape
    note: str = ""


def prepared(plan: Node, shape: Shape) -> Prepared:
    """The plan optimised; or as it is, for a single slot, whose kernel optimises for itself."""
    if shape.slots == 1:
        return Prepared(plan, shape)
    from flowgrid.optimizer.optimizer import optimize

    optimised = optimize(plan, broadcast_bytes_max=shape.config.planner_broadcast_bytes_max)
    note = _note_if_small(optimised, shape)
    if not note:
        return Prepared(optimised, shape)
    return Prepared(plan, msgspec.structs.replace(shape, slots=1), note)


def _note_if_small(plan: Node, shape: Shape) -> str:
    """Why one task should run all of an optimised plan; "" where several should share it.

    Never one where the user said how rows are to be spread, or where user functions make the work.
    """
    from flowgrid.optimizer.estimates import Estimator

    limit = shape.config.planner_single_task_bytes_max
    nodes = topological(plan)
    asked = any(isinstance(node, MapBatches | Repartition) for node in nodes)
    if asked or shape.config.planner_force_exchanges:
        return ""
    found = input_bytes(plan, limit)
    estimator = Estimator()
    if found > limit or any(estimator.size(n).bytes > _GROWTH_MAX * limit for n in nodes):
        return ""
    return (
        f"all in one task: it reads {found / MIB:.1f} MiB, and planner.single_task_bytes_max is "
        f"{limit / MIB:.1f}"
    )
