"""Rows to files: the engine writes and commits them, all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flowgrid.config import parse_bytes
from flowgrid.errors import PlanError
from flowgrid.expr.names import column_named
from flowgrid.io.listing import local_path, protocol_of
from flowgrid.logical.nodes import Node, Write

if TYPE_CHECKING:
    from flowgrid.api.engine import Engine

_OPTIONS = {
    "parquet": ("compression", "row_group_rows", "target_file_bytes"),
    "ipc": ("compression",),
    "csv": ("delimiter", "header"),
    "json": (),
}

_SIZES = ("row_group_rows", "target_file_bytes")


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
        if "target_file_bytes" in dict(given):
            raise PlanError(
                "memory: takes no target_file_bytes: the driver writes each file at once"
            )
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
    return tuple((name, _text(name, value)) for name, value in options.items() if value is not None)


def _text(name: str, value: object) -> str:
    """The option as it travels. Raises `PlanError` for a size that is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if name not in _SIZES:
        return str(value)
    try:
        size = parse_bytes(str(value)) if name.endswith("_bytes") else int(str(value))
    except ValueError as error:
        raise PlanError(f"{name}={value!r}: {error}") from None
    if size < 1:
        raise PlanError(f"{name}={value!r} must be at least 1")
    return str(size)
