"""SQL text as one query's tree; parameters become literals in the tree, never text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeAlias

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError

from flowgrid.errors import PlanError, SqlSyntaxError
from flowgrid.expr.tree import Expr, bracketed, faithful, literal, syntax_error

Parameters: TypeAlias = Mapping[str, object] | Sequence[object] | None


class _Dialect(DuckDB):
    """DuckDB's, in which ``?::DATE`` is a parameter and its cast; sqlglot takes ``?::`` for one word."""

    class Tokenizer(DuckDB.Tokenizer):
        KEYWORDS: ClassVar = {
            word: token for word, token in DuckDB.Tokenizer.KEYWORDS.items() if word != "?::"
        }


_PARAMETER = re.compile(
    r"""
    [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"  # texts and quoted names
    | --[^\n]* | /\*.*?\*/                                       # comments
    | \$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$                   # texts between dollars
    | (?P<parameter>\$\w+)(?=[^\s\w])
    """,
    re.VERBOSE | re.DOTALL,
)


def parse_query(text: str, parameters: Parameters = None) -> Expr:
    """The only query of `text`. Raises `SqlSyntaxError`; `PlanError` for parameters that do not fit."""
    return query_of(parse_tree(text, parameters))


def parse_tree(text: str, parameters: Parameters = None) -> Expr:
    """The only statement of `text`, whatever it is; raises as `parse_query` does."""
    try:
        parsed = sqlglot.parse(_spaced(text), read=_Dialect)
        trees = [tree for tree in parsed if tree is not None]
    except SqlglotError as error:
        raise syntax_error(error, text) from None
    if len(trees) != 1:
        raise SqlSyntaxError(f"one query is expected, and this is {len(trees)}")
    return _with_parameters(faithful(trees[0]), parameters)


def _spaced(text: str) -> str:
    """``$1,$2`` as ``$1 ,$2``: sqlglot would take what is between the dollars for a quoted text."""
    if text.count("$") < 2:
        return text
    return _PARAMETER.sub(lambda found: found[0] + (" " if found["parameter"] else ""), text)


def query_of(tree: Expr) -> Expr:
    """The tree, which must be a query. Raises `PlanError`."""
    if not isinstance(tree, exp.Query | exp.Values | exp.Pivot):
        name = tree.name if isinstance(tree, exp.Command) else type(tree).__name__
        raise PlanError(
            f"{name.upper()} is no query; session.sql(…) takes SELECT and what is built of it, "
            "CREATE TABLE and VIEW … AS, DROP, COPY … TO, EXPLAIN, DESCRIBE and SHOW TABLES"
        )
    return tree


def _with_parameters(tree: Expr, parameters: Parameters) -> Expr:
    used: set[object] = set()
    position = 0

    def replace(node: Expr) -> Expr:
        nonlocal position
        if not isinstance(node, exp.Placeholder | exp.Parameter):
            return node
        name = node.name
        if name in ("", "?"):
            position += 1
            name = str(position)
        value = _value(name, parameters)
        used.add(name)
        return bracketed(literal(value), node.parent)

    result = tree.transform(replace, copy=False)
    given = _names(parameters)
    if unused := [name for name in given if name not in used]:
        raise PlanError(
            f"the query has no parameter {unused[0]!r}; it uses {sorted(map(str, used))}"
        )
    return result


def _names(parameters: Parameters) -> list[str]:
    if parameters is None:
        return []
    if isinstance(parameters, Mapping):
        return list(parameters)
    return [str(index + 1) for index in range(len(parameters))]


def _value(name: str, parameters: Parameters) -> object:
    if parameters is not None and name in _names(parameters):
        return parameters[name] if isinstance(parameters, Mapping) else parameters[int(name) - 1]
    raise PlanError(f"the query's parameter {name!r} has no value; given are {_names(parameters)}")
