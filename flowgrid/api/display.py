"""Frames for people: schemas without running anything, rows on demand."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from flowgrid.errors import PlanError
from flowgrid.logical.explain import explain

if TYPE_CHECKING:
    from flowgrid.api.engine import Engine
    from flowgrid.logical.nodes import Node
    from flowgrid.protocol.fragment import Field

_CELL_WIDTH_MAX = 40


def schema_text(fields: Sequence[Field]) -> str:
    """``DataFrame[a: BIGINT, b: VARCHAR]``."""
    return f"DataFrame[{', '.join(f'{field.name}: {field.type}' for field in fields)}]"


def schema_html(fields: Sequence[Field]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(field.name)}</td><td>{html.escape(field.type)}</td></tr>"
        for field in fields
    )
    return f"<table><tr><th>column</th><th>type</th></tr>{rows}</table>"


def plan_text(engine: Engine, node: Node, kind: str) -> str:
    """The plan as `DataFrame.explain` tells it."""
    match kind:
        case "logical":
            return explain(node)
        case "optimized":
            from flowgrid.optimizer.optimizer import optimize

            return explain(optimize(node))
        case "stages":
            return engine.explain_stages(node)
        case "adaptive":
            changes = engine.explain_changes(node)
            if not changes:
                raise PlanError("explain('adaptive'): this frame has not run; collect() it")
            return changes
    raise PlanError(f"explain({kind!r}): logical, optimized, stages or adaptive")


def show(table: pa.Table, more: bool) -> None:
    """Print the rows as a table; `more` says that there are further ones."""
    from rich.console import Console  # 0.1 s, and only people at a terminal need it
    from rich.markup import escape
    from rich.table import Table

    shown = Table()
    for field in table.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        right = numeric or pa.types.is_decimal(field.type)
        shown.add_column(escape(field.name), justify="right" if right else "left")
    for row in table.to_pylist():
        shown.add_row(*(escape(_cell(value)) for value in row.values()))
    console = Console()
    console.print(shown)
    if more:
        console.print(f"first {table.num_rows} rows")


def _cell(value: object) -> str:
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _CELL_WIDTH_MAX else text[: _CELL_WIDTH_MAX - 1] + "…"
