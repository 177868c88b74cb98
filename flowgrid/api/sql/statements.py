"""SQL text to what it asks for: a query, or a statement that makes, drops, writes or explains one.

What a statement has that is not listed here is refused by name: nothing is quietly ignored.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from typing import Literal, TypeAlias

import msgspec
from sqlglot import exp

from flowgrid.api.sql.parsing import Parameters, parse_query, parse_tree, query_of
from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, to_sql

RelationKind: TypeAlias = Literal["table", "view"]


class Query(msgspec.Struct, frozen=True):
    tree: Expr


class Create(msgspec.Struct, frozen=True):
    """CREATE TABLE or VIEW name [(columns)] AS query."""

    kind: RelationKind
    name: str
    columns: tuple[str, ...]
    query: Expr
    replace: bool
    if_not_exists: bool


class Drop(msgspec.Struct, frozen=True):
    kind: RelationKind
    names: tuple[str, ...]
    if_exists: bool


class Copy(msgspec.Struct, frozen=True):
    """COPY query TO path: what `DataFrame.write_…` takes."""

    query: Expr
    path: str
    format: str
    mode: str
    partition_by: tuple[str, ...]
    options: dict[str, object]


class Explain(msgspec.Struct, frozen=True):
    query: Expr
    analyze: bool


class Describe(msgspec.Struct, frozen=True):
    query: Expr


class ShowTables(msgspec.Struct, frozen=True):
    pass


Statement: TypeAlias = Query | Create | Drop | Copy | Explain | Describe | ShowTables

_EXPLAIN = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*explain\b(?P<analyze>\s+analyze\b)?", re.IGNORECASE | re.DOTALL
)
_EXPLAIN_OPTIONS = re.compile(r"\s*\(\s*(format|analyze)\b", re.IGNORECASE)

_FORMATS = {
    "parquet": "parquet", "csv": "csv", "tsv": "csv", "json": "json", "ndjson": "json",
    "jsonl": "json", "ipc": "ipc", "arrow": "ipc", "feather": "ipc",
}  # fmt: skip
"""Formats as COPY and file names call them, and what our sinks call them."""

_OPTIONS = {"codec": "compression", "delim": "delimiter", "sep": "delimiter"}
"""Other words for options of sinks."""


def parse_statement(text: str, parameters: Parameters = None) -> Statement:
    """The only statement of `text`. Raises `SqlSyntaxError`, and `PlanError` for what is not known."""
    explained = _EXPLAIN.match(text)
    if explained is not None:
        if _EXPLAIN_OPTIONS.match(text, explained.end()):
            raise PlanError("EXPLAIN has no options here but ANALYZE")
        # Blanks in its place, so that an error behind it is where it says.
        blank = re.sub(r"[^\n]", " ", explained[0])
        query = parse_query(blank + text[explained.end() :], parameters)
        return Explain(query, explained["analyze"] is not None)
    tree = parse_tree(text, parameters)
    match tree:
        case exp.Create():
            return _create(tree)
        case exp.Drop():
            return _drop(tree)
        case exp.Copy():
            return _copy(tree)
        case exp.Describe():
            _only(tree, ("this",), "DESCRIBE")
            return Describe(_table_or_query(tree.this))
        case exp.Show() if tree.name.upper() == "TABLES":
            _only(tree, ("this",), "SHOW TABLES")
            return ShowTables()
        case _:
            return Query(query_of(tree))


def _create(tree: exp.Create) -> Create:
    kind = _kind(tree)
    what = f"CREATE {kind.upper()}"
    _only(tree, ("this", "kind", "replace", "exists", "expression", "properties"), what)
    properties = tree.args.get("properties")
    for one in properties.expressions if properties is not None else ():
        if not isinstance(one, exp.TemporaryProperty):
            raise PlanError(f"{what} has no {to_sql(one) or type(one).__name__} here")
    columns: tuple[str, ...] = ()
    target = tree.this
    if isinstance(target, exp.Schema):
        if not all(isinstance(one, exp.Identifier) for one in target.expressions):
            raise PlanError(f"{what} takes its types from a query: {what} {target.this.name} AS …")
        columns, target = tuple(one.name for one in target.expressions), target.this
    if tree.expression is None:
        raise PlanError(f"{what} needs a query: {what} {target.name} AS SELECT …")
    replace, if_not_exists = bool(tree.args.get("replace")), bool(tree.args.get("exists"))
    query = query_of(tree.expression)
    return Create(kind, _name(target, what), columns, query, replace, if_not_exists)


def _drop(tree: exp.Drop) -> Drop:
    kind = _kind(tree)
    what = f"DROP {kind.upper()}"
    _only(tree, ("tables", "kind", "exists"), what)
    names = tuple(_name(table, what) for table in tree.args["tables"])
    return Drop(kind, names, bool(tree.args.get("exists")))


def _kind(tree: exp.Create | exp.Drop) -> RelationKind:
    found = str(tree.args.get("kind")).upper()
    if found not in ("TABLE", "VIEW"):
        raise PlanError(f"{tree.key.upper()} {found}: a session has tables and views, nothing else")
    return "table" if found == "TABLE" else "view"


def _name(table: Expr, what: str) -> str:
    if not isinstance(table, exp.Table) or table.args.get("db"):
        raise PlanError(f"{what} {to_sql(table)}: a session has names without schemas")
    return table.name


def _only(tree: Expr, known: Collection[str], what: str) -> None:
    """Refuses every part of a statement but the known ones."""
    for part, value in tree.args.items():
        if value and part not in known:
            raise PlanError(f"{what} has no {part.upper().replace('_', ' ').strip()} here")


def _table_or_query(tree: Expr) -> Expr:
    return exp.select("*").from_(tree) if isinstance(tree, exp.Table) else query_of(tree)


# -- COPY ------------------------------------------------------------------------------------------


def _copy(tree: exp.Copy) -> Copy:
    if tree.args.get("kind"):
        raise PlanError("COPY … FROM fills tables; read files with FROM 'file' or session.read_…")
    credentials = tree.args.get("credentials")
    if credentials is not None and any(credentials.args.values()):
        raise PlanError("COPY has no credentials here")
    files = tree.args.get("files") or []
    if len(files) != 1 or not isinstance(files[0], exp.Literal):
        raise PlanError("COPY … TO needs one path in quotes")
    path = str(files[0].this)
    given = {str(one.name).casefold(): one.expression for one in tree.args.get("params") or []}
    partition_by = _names(given.pop("partition_by", None))
    values = {_OPTIONS.get(name, name): _value(name, tree) for name, tree in given.items()}
    format, mode = _format(values.pop("format", None), path), _mode(values)
    for name in ("compression",):
        if isinstance(values.get(name), str):
            values[name] = str(values[name]).lower()
    return Copy(_copied(tree.this), path, format, mode, partition_by, values)


def _copied(tree: Expr) -> Expr:
    if isinstance(tree, exp.Schema):
        columns = [exp.column(one.copy()) for one in tree.expressions]
        return exp.select(*columns).from_(tree.this)
    return _table_or_query(tree.this if isinstance(tree, exp.Subquery) else tree)


def _format(given: object, path: str) -> str:
    name = str(given) if given is not None else posixpath.splitext(path)[1].removeprefix(".")
    found = _FORMATS.get(name.casefold())
    if found is None:
        listed = ", ".join(dict.fromkeys(_FORMATS.values()))
        hint = f"{name!r} is none of them" if name else f"{path!r} does not say which"
        raise PlanError(f"COPY writes the formats {listed}, and {hint}: COPY … TO … (FORMAT …)")
    return found


def _mode(values: dict[str, object]) -> str:
    """What to do with an output that is there; takes the options that say it out of `values`."""
    if values.get("overwrite_or_ignore"):
        raise PlanError("COPY has no OVERWRITE_OR_IGNORE here: OVERWRITE replaces, APPEND adds")
    values.pop("overwrite_or_ignore", None)
    modes = [name for name in ("overwrite", "append") if values.pop(name, False)]
    if "mode" in values:
        modes.append(str(values.pop("mode")))
    if len(set(modes)) > 1:
        raise PlanError(f"COPY can do one of these: {' or '.join(modes)}")
    return modes[0] if modes else "error"


def _names(tree: Expr | None) -> tuple[str, ...]:
    if tree is None:
        return ()
    inner = tree.unnest()
    return tuple(one.name for one in (inner.expressions or [inner]))


def _value(name: str, tree: Expr | None) -> object:
    match tree:
        case None:
            return True
        case exp.Boolean():
            return bool(tree.this)
        case exp.Literal(is_string=True) | exp.Var() | exp.Column():
            return _switch(tree.name)
        case exp.Literal() if tree.name in ("0", "1"):
            return tree.name == "1"
    raise PlanError(f"COPY cannot take {to_sql(tree)} for {name.upper()}")


def _switch(word: str) -> object:
    return {"true": True, "false": False}.get(word.casefold(), word)
