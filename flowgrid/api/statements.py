"""What the statements of `Session.sql` do, each as a function that returns the node of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from flowgrid.api.catalog import Catalog
from flowgrid.api.sql.parsing import Parameters
from flowgrid.api.sql.statements import (
    Copy,
    Create,
    Describe,
    Drop,
    Explain,
    Query,
    ShowTables,
    parse_statement,
)
from flowgrid.api.sql.text import bind_tree
from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, cast, column
from flowgrid.logical.nodes import Named, Node, Project

if TYPE_CHECKING:
    from flowgrid.api.engine import Engine


def run(text: str, parameters: Parameters, catalog: Catalog, engine: Engine) -> Node:
    """A query as a plan that nobody has run; or the answer of a statement, which has run."""
    statement = parse_statement(text, parameters)
    match statement:
        case Query(tree):
            return _bound(tree, catalog, engine)
        case Create():
            return _create(statement, catalog, engine)
        case Drop():
            return _drop(statement, catalog)
        case Copy():
            return _copy(statement, catalog, engine)
        case Explain(tree, analyze):
            return _explain(_bound(tree, catalog, engine), analyze, engine)
        case Describe(tree):
            return _describe(_bound(tree, catalog, engine))
        case ShowTables():
            return _answer({"name": sorted(catalog, key=str.casefold)})


def query_over(
    text: str, parameters: Parameters, tables: Mapping[str, Node], engine: Engine
) -> Node:
    """A query's plan over these relations and no others. Raises `PlanError` for other statements."""
    statement = parse_statement(text, parameters)
    if not isinstance(statement, Query):
        raise PlanError("a frame is asked with a query; session.sql(…) runs other statements")
    catalog = Catalog()
    for name, node in tables.items():
        catalog.register(name, node)
    return _bound(statement.tree, catalog, engine)


def _bound(tree: Expr, catalog: Catalog, engine: Engine) -> Node:
    """The query's plan. A PIVOT without a list of values runs a query of its own to find them."""

    if not tree.find(exp.Pivot):
        return bind_tree(tree, catalog)
    from flowgrid.api.sql.pivots import with_values  # rarely needed, and every import is waited for

    def texts_of(query: Expr) -> list[str]:
        from flowgrid.api.results import collect

        texts: list[str] = collect(engine, bind_tree(query, catalog)).column(0).to_pylist()
        return texts

    return bind_tree(with_values(tree, texts_of), catalog)


def _create(statement: Create, catalog: Catalog, engine: Engine) -> Node:
    there = catalog.kind(statement.name)
    if there is not None and statement.if_not_exists:
        return _counted(None)
    if there is not None and not statement.replace:
        raise PlanError(
            f"{there} {statement.name!r} is there already: "
            f"CREATE OR REPLACE {statement.kind.upper()} takes its place"
        )
    if statement.kind == "view":

        def define(tables: Mapping[str, Node]) -> Node:
            return _named(bind_tree(statement.query, tables), statement.columns)

        define(catalog)  # what cannot mean anything is refused now
        catalog.register(statement.name, define, "view")
        return _counted(None)
    plan = _named(_bound(statement.query, catalog, engine), statement.columns)
    table, rows = _computed(plan, engine)
    catalog.register(statement.name, table, "table")
    return _counted(rows)


def _named(node: Node, names: Sequence[str]) -> Node:
    """The relation with its first columns under these names."""
    if not names:
        return node
    if len(names) > len(node.columns):
        raise PlanError(f"{len(names)} names for the {len(node.columns)} columns of the query")
    new = [*names, *node.columns[len(names) :]]
    return Project(
        node, tuple(Named(name, column(old)) for name, old in zip(new, node.columns, strict=True))
    )


def _computed(plan: Node, engine: Engine) -> tuple[Node, int]:
    """The plan's rows as a relation that the driver holds, in the types that the plan has."""
    from flowgrid.api import reading, results
    from flowgrid.logical.schema import schema_of

    rows = results.collect(engine, plan)
    table = reading.from_arrow(rows)
    fields = schema_of(plan)
    if fields == table.fields:
        return table, rows.num_rows
    # Arrow knows fewer types than the kernel: a HUGEINT comes back as a decimal.
    typed = tuple(
        Named(new.name, column(new.name) if new == old else cast(column(new.name), new.type))
        for new, old in zip(fields, table.fields, strict=True)
    )
    return Project(table, typed), rows.num_rows


def _drop(statement: Drop, catalog: Catalog) -> Node:
    for name in statement.names:
        there = catalog.kind(name)
        if there is None and not statement.if_exists:
            catalog.table(name)  # raises, with names that are near
        if there not in (None, "frame", statement.kind):
            raise PlanError(f"{name!r} is a {there}: DROP {str(there).upper()} {name}")
    for name in statement.names:
        if catalog.kind(name) is not None:
            catalog.drop(name)
    return _counted(None)


def _copy(statement: Copy, catalog: Catalog, engine: Engine) -> Node:
    from flowgrid.api.writing import write

    rows = write(
        engine, _bound(statement.query, catalog, engine), statement.path, statement.format,
        statement.mode, statement.partition_by, statement.options,
    )  # fmt: skip
    return _counted(rows)


def _explain(plan: Node, analyze: bool, engine: Engine) -> Node:
    from flowgrid.logical.explain import explain
    from flowgrid.optimizer.optimizer import optimize

    if analyze:
        shown = {"analyzed": engine.analyze(plan)}
    else:
        shown = {
            "logical": explain(plan),
            "optimized": explain(optimize(plan)),
            "stages": engine.explain_stages(plan),
        }
    return _answer({"explain_key": list(shown), "explain_value": list(shown.values())})


def _describe(plan: Node) -> Node:
    from flowgrid.logical.schema import schema_of

    fields = schema_of(plan)
    return _answer(
        {
            "column_name": [field.name for field in fields],
            "column_type": [field.type for field in fields],
        }
    )


def _answer(columns: Mapping[str, Sequence[str]]) -> Node:
    """Texts as a relation that the driver holds."""
    import pyarrow as pa

    from flowgrid.api.reading import from_arrow

    return from_arrow(
        pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    )


def _counted(rows: int | None) -> Node:
    """How many rows a statement has made or written, as the kernel says it; none if it makes none."""
    import pyarrow as pa

    from flowgrid.api.reading import from_arrow

    return from_arrow(pa.table({"Count": pa.array([] if rows is None else [rows], pa.int64())}))
