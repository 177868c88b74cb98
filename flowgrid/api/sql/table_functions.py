"""Files and integers in FROM as scans of ours: ``'a.parquet'``, ``read_csv(…)``, ``range(…)``.

What is not read the same way by a scan (an option that adds columns, a path that depends on rows) stays
a function of the kernel's, in one task.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from sqlglot import exp

from flowgrid.api.sql.table_names import is_file
from flowgrid.expr.tree import Expr
from flowgrid.logical.nodes import IntegerRange, Node
from flowgrid.protocol.fragment import Field

Read: TypeAlias = Callable[[list[str], Mapping[str, object]], Node]


def _parquet(paths: list[str], options: Mapping[str, object]) -> Node:
    from flowgrid.api.reading import read_parquet  # here and below: pyarrow, 0.1 s

    return read_parquet(paths, options)


def _csv(paths: list[str], options: Mapping[str, object]) -> Node:
    from flowgrid.api.reading import read_csv

    return read_csv(paths, options)


def _json(paths: list[str], options: Mapping[str, object]) -> Node:
    from flowgrid.api.reading import read_json

    return read_json(paths, options)


_READERS: dict[str, Read] = {
    "read_parquet": _parquet, "parquet_scan": _parquet,
    "read_csv": _csv, "read_csv_auto": _csv,
    "read_json": _json, "read_json_auto": _json,
}  # fmt: skip

_ENDINGS: dict[str, Read] = {
    "parquet": _parquet, "csv": _csv, "tsv": _csv, "json": _json, "ndjson": _json, "jsonl": _json,
}  # fmt: skip

_SAME_COLUMNS: dict[Read, tuple[str, ...]] = {
    _parquet: ("hive_partitioning",),
    _csv: (
        "header", "delim", "sep", "quote", "escape", "comment", "skip", "columns", "types", "dtypes",
        "column_types", "names", "column_names", "nullstr", "dateformat", "timestampformat",
        "decimal_separator", "all_varchar", "sample_size", "auto_detect", "hive_partitioning",
        "compression",
    ),
    _json: ("format", "columns", "sample_size", "maximum_depth", "compression", "hive_partitioning"),
}  # fmt: skip
"""Options that a scan understands; with any other the kernel reads the files itself."""

_ENDING = re.compile(r"\.(\w+)(?:\.gz|\.zst)?$")


class NotConstant(Exception):
    """An argument that is known only while the query runs, or that no scan understands."""


def with_scans(tree: Expr, names: Collection[str]) -> tuple[Expr, dict[str, Node]]:
    """The query with files and integers as tables of new names, and these tables.

    `names` are those of the session's tables, casefolded, which hide files. Raises `InputError` for
    files that are not there or cannot be read.
    """
    found: dict[str, Node] = {}
    tree = tree.copy()
    hidden = {cte.alias.casefold() for cte in tree.find_all(exp.CTE)} | set(names)
    for table in list(tree.find_all(exp.Table)):
        try:
            made = _source(table, hidden)
        except NotConstant:
            continue
        if made is None:
            continue
        node, alias = made
        name = f"#source{len(found)}"
        found[name] = node
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        table.set("this", exp.to_identifier(name, quoted=True))
    return tree, found


def _source(table: exp.Table, hidden: Collection[str]) -> tuple[Node, str] | None:
    """The relation that a table of FROM reads, and its name if the query gives none."""
    function = table.this
    if isinstance(function, exp.Identifier):
        ending = _ENDING.search(table.name)
        if table.name.casefold() in hidden or not is_file(table) or ending is None:
            return None
        read = _ENDINGS.get(ending[1].casefold())
        stem = table.name.rpartition("/")[2].partition(".")[0]
        return (read([table.name], {}), stem) if read is not None else None
    if isinstance(function, exp.GenerateSeries):
        return _integers(function, table)
    name, arguments = _call(function)
    reader = _READERS.get(name)
    return (_files(reader, arguments), name) if reader is not None and arguments else None


def _call(function: Expr) -> tuple[str, list[Expr]]:
    match function:
        case exp.ReadCSV():
            return "read_csv", [function.this, *function.expressions]
        case exp.ReadParquet():
            return "read_parquet", list(function.expressions)
        case exp.Anonymous():
            return function.name.casefold(), list(function.expressions)
    return "", []


def _files(read: Read, arguments: list[Expr]) -> Node:
    paths = _constant(arguments[0])
    listed = paths if isinstance(paths, list) else [paths]
    if not listed or not all(isinstance(path, str) for path in listed):
        raise NotConstant
    options: dict[str, object] = {}
    for argument in arguments[1:]:
        if not isinstance(argument, exp.EQ | exp.PropertyEQ):
            raise NotConstant
        options[argument.this.name.casefold()] = _constant(argument.expression)
    if options.keys() - set(_SAME_COLUMNS[read]):
        raise NotConstant
    return read([str(path) for path in listed], options)


def _constant(tree: Expr) -> object:
    """A literal's value. Raises `NotConstant` for anything else."""
    match tree:
        case exp.Literal():
            return (
                str(tree.this)
                if tree.is_string
                else int(tree.this)
                if tree.is_int
                else float(tree.this)
            )
        case exp.Neg(this=exp.Literal() as number) if not number.is_string:
            return -float(number.this) if not number.is_int else -int(number.this)
        case exp.Boolean():
            return bool(tree.this)
        case exp.Array():
            return [_constant(item) for item in tree.expressions]
        case exp.Struct():
            return {item.this.name: _constant(item.expression) for item in tree.expressions}
        case exp.Paren():
            return _constant(tree.this)
    raise NotConstant


def _integers(call: exp.GenerateSeries, table: exp.Table) -> tuple[Node, str]:
    start, end, step = (
        _constant(part) if part is not None else 1
        for part in (call.args.get("start"), call.args.get("end"), call.args.get("step"))
    )
    exclusive = bool(call.args.get("is_end_exclusive"))
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(step, int)) or not step:
        raise NotConstant
    stop = end if exclusive else end + (1 if step > 0 else -1)
    default = "range" if exclusive else "generate_series"
    # The only column is called as the table is.
    name = table.alias or default
    return IntegerRange((Field(name, "BIGINT"),), start, stop, step), default
