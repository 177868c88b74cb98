"""ORDER BY, LIMIT and OFFSET."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from flowgrid.expr.tree import Expr, column, to_sql
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.nodes import SortKey
from flowgrid.logical.schema import evaluate


@dataclass(frozen=True)
class _Key:
    """A column of the result by its position, or else an expression."""

    target: int | Expr
    descending: bool
    nulls_first: bool


@dataclass(frozen=True)
class Ordering:
    """The keys of ORDER BY before the result has its columns."""

    found: tuple[_Key, ...]

    @classmethod
    def of(
        cls, order: exp.Order | None, names: Sequence[str], resolve: Callable[[Expr], Expr]
    ) -> Ordering:
        """`names` are those of the result; `resolve` makes sense of everything else."""
        keys: list[_Key] = []
        for tree in order.expressions if order is not None else ():
            descending, nulls_first = (
                bool(tree.args.get("desc")),
                bool(tree.args.get("nulls_first")),
            )
            if isinstance(tree.this, exp.Var) and tree.this.name.upper() == "ALL":
                targets: Sequence[int | Expr] = range(len(names))
            else:
                targets = [_target(tree.this, names, resolve)]
            keys += [_Key(target, descending, nulls_first) for target in targets]
        return cls(tuple(keys))

    def expressions(self) -> list[Expr]:
        return [key.target for key in self.found if not isinstance(key.target, int)]

    def over(self, expressions: Iterator[Expr]) -> Ordering:
        """The same order with these in the place of `expressions()`."""
        return Ordering(
            tuple(
                key if isinstance(key.target, int) else replace(key, target=next(expressions))
                for key in self.found
            )
        )

    def keys(self, columns: Sequence[str], place: Callable[[Expr], Expr]) -> tuple[SortKey, ...]:
        """Sort keys over the result's `columns`; `place` gives an expression its own column."""
        return tuple(
            SortKey(
                column(columns[key.target]) if isinstance(key.target, int) else place(key.target),
                key.descending,
                key.nulls_first,
            )
            for key in self.found
        )


def _target(tree: Expr, names: Sequence[str], resolve: Callable[[Expr], Expr]) -> int | Expr:
    if isinstance(tree, exp.Literal) and tree.is_int:
        return int(tree.this) - 1
    if isinstance(tree, exp.Column) and len(tree.parts) == 1:
        folded = [name.casefold() for name in names]
        if tree.name.casefold() in folded:
            return folded.index(tree.name.casefold())
    if isinstance(tree, exp.Collate):
        raise CannotPartition("ORDER BY with a collation")
    return resolve(tree)


def limits(query: Expr) -> tuple[int | None, int]:
    """LIMIT (None for none) and OFFSET of a query, computed if they are expressions."""
    limit, offset = query.args.get("limit"), query.args.get("offset")
    if limit is not None and (not isinstance(limit, exp.Limit) or limit.args.get("limit_options")):
        raise CannotPartition("LIMIT in per cent or with ties")
    return _count(limit), _count(offset) or 0


def _count(clause: Expr | None) -> int | None:
    if clause is None:
        return None
    tree = clause.expression
    if isinstance(tree, exp.Literal) and tree.is_int:
        return int(tree.this)
    if tree.find(exp.Query, exp.Column) is not None:
        raise CannotPartition("LIMIT or OFFSET that depends on rows")
    value = evaluate(f"SELECT CAST({to_sql(tree)} AS BIGINT)")
    return None if value is None else int(str(value))
