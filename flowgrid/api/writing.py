"""Rows to files: the engine writes and commits them, all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flowgrid.errors import PlanError
from flowgrid.expr.names import column_named
from flowgrid.io.listing import local_path, protocol_of
from flowgrid.logical.nodes import Node, Write

if TYPE_CHECKING:
    from flowgrid.api.engine import Engine

_OPTIONS = {
    "parquet": ("compression",),
    "ipc": ("compression",),
    "csv": ("delimiter", "header"),
    "json": (),
}


def write(
    engine: Engine,
    node: Node,
    path: str,
    format: str,
    mode: str,
    partition_by: str | Sequence[str],
    options: Mapping[str, object],
) -> int:
    """Write and publish the rows, and say how many; whatever fails leaves nothing behind.

    Raises `OutputExistsError` before any task runs if `mode` is "error" and something is there.
    """
    keys = [partition_by] if isinstance(partition_by, str) else list(partition_by)
    names = tuple(column_named(name, node.columns, "partition_by") for name in keys)
    if len(names) == len(node.columns):
        raise PlanError("partition_by takes all columns: none is left to write into the files")
    given = _checked(format, options)
    from flowgrid.io.commit import check_mode  # a program that only asks starts without it

    check_mode(mode)
    plan = Write(node, path if protocol_of(path) else local_path(path), format, mode, names, given)
    if protocol_of(path) == "memory":
        from flowgrid.api.driver_files import write_here  # rare, and it needs pyarrow

        return write_here(engine, plan)
    with engine.run(plan) as result:  # the engine has committed
        return result.rows


def _checked(format: str, options: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    known = _OPTIONS[format]
    for name in options:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise PlanError(f"write_{format} has no option {name!r}; its options: {listed}")
    return tuple(
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in options.items()
        if value is not None
    )
