"""Predicates written more simply, with SQL's three truth values in mind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlglot import exp

from flowgrid.expr.tree import Expr, bracketed, conjunction, conjuncts
from flowgrid.optimizer.traits import is_literal, plain_column, reads_within


def is_true(expression: Expr) -> bool:
    return isinstance(expression, exp.Boolean) and bool(expression.this)


def is_false(expression: Expr) -> bool:
    """False, or NULL, which a filter treats alike."""
    return isinstance(expression, exp.Null) or (
        isinstance(expression, exp.Boolean) and not expression.this
    )


def false() -> Expr:
    return exp.Boolean(this=False)


def disjuncts(predicate: Expr) -> Iterator[Expr]:
    """The parts of a predicate that OR joins, without outer parentheses."""
    inner = predicate.unnest()
    if isinstance(inner, exp.Or):
        yield from disjuncts(inner.left)
        yield from disjuncts(inner.right)
    else:
        yield inner


def disjunction(predicates: Iterable[Expr]) -> Expr:
    """The predicates joined by OR; equalities of one column with constants become IN."""
    parts = list(predicates)
    values = [_equal_to(part) for part in parts]
    first = values[0][0] if values[0] else None
    if len(parts) > 1 and first is not None and all(v and v[0] == first for v in values):
        items = [item.copy() for value in values if value for item in value[1]]
        return exp.In(this=_column_of(parts[0]).copy(), expressions=items)
    joined = bracketed(parts[0], exp.Or()) if len(parts) > 1 else parts[0]
    for part in parts[1:]:
        joined = exp.Or(this=joined, expression=bracketed(part, exp.Or()))
    return joined


def _column_of(equality: Expr) -> Expr:
    mirrored = isinstance(equality, exp.EQ) and plain_column(equality.this) is None
    found: Expr = equality.expression if mirrored else equality.this
    return found


def _equal_to(predicate: Expr) -> tuple[str, list[Expr]] | None:
    """The column and the constants that it may be equal to, for ``c = 1`` and ``c IN (1, 2)``."""
    if isinstance(predicate, exp.EQ):
        for this, other in (
            (predicate.this, predicate.expression),
            (predicate.expression, predicate.this),
        ):
            name = plain_column(this)
            if name is not None and is_literal(other):
                return name, [other]
    if isinstance(predicate, exp.In) and predicate.expressions:
        name = plain_column(predicate.this)
        if name is not None and all(is_literal(item) for item in predicate.expressions):
            return name, list(predicate.expressions)
    return None


def simplified(predicate: Expr) -> list[Expr]:
    """The conjuncts of an equivalent predicate, each once; [FALSE] if no row can pass."""
    kept: dict[Expr, None] = {}
    for part in conjuncts(predicate):
        for found in _simplified_part(part):
            if is_false(found):
                return [false()]
            if not is_true(found):
                kept[found] = None
    return list(kept)


def _simplified_part(part: Expr) -> list[Expr]:
    if isinstance(part, exp.Not):
        inner = part.this.unnest()
        if isinstance(inner, exp.Boolean):
            return [exp.Boolean(this=not inner.this)]
        if isinstance(inner, exp.Null):
            return [inner]
        return [part]
    if not isinstance(part, exp.Or):
        return [part]
    branches: list[list[Expr]] = []
    for branch in disjuncts(part):
        found = simplified(branch)
        if not found:  # this branch is always true
            return []
        if not is_false(found[0]):
            branches.append(found)
    if not branches:
        return [false()]
    return _factored(branches, part)


def _factored(branches: list[list[Expr]], original: Expr) -> list[Expr]:
    """(a AND b) OR (a AND c) as a AND (b OR c); also where one branch is the factor alone."""
    common = [part for part in branches[0] if all(part in branch for branch in branches[1:])]
    rests = [[part for part in branch if part not in common] for branch in branches]
    if any(not rest for rest in rests):
        return common
    unchanged = not common and sum(map(len, branches)) == sum(
        1 for branch in disjuncts(original) for _ in conjuncts(branch)
    )
    if unchanged:
        return [original]
    return [*common, disjunction(conjunction(rest) or rest[0] for rest in rests)]


def implied_within(predicate: Expr, columns: frozenset[str]) -> Expr | None:
    """What an OR says about these columns alone: (a AND x) OR (b AND y) implies a OR b."""
    parts: list[Expr] = []
    if not isinstance(predicate.unnest(), exp.Or):
        return None
    for branch in disjuncts(predicate):
        own = [part for part in conjuncts(branch) if reads_within(part, columns)]
        said = conjunction(own)
        if said is None:
            return None
        parts.append(said)
    return disjunction(parts)


_STRICT = (
    exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Paren, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE,
    exp.GT, exp.GTE, exp.Like, exp.ILike, exp.Between, exp.Cast, exp.Substring, exp.Extract,
    exp.Upper, exp.Lower, exp.Length, exp.Abs, exp.Round, exp.Floor, exp.Ceil,
)  # fmt: skip
"""Whose value is NULL as soon as one argument is. Division is too, and the kernel may yet change it."""


def is_null_with(expression: Expr, columns: frozenset[str]) -> bool:
    """Whether the expression is certainly NULL in a row where all these columns are."""
    name = plain_column(expression)
    if name is not None:
        return name in columns
    if isinstance(expression, exp.In):
        return bool(expression.expressions) and is_null_with(expression.this, columns)
    if isinstance(expression, exp.Not) and isinstance(expression.this.unnest(), exp.Connector):
        return False
    if isinstance(expression, exp.Between):
        return is_null_with(expression.this, columns)
    return isinstance(expression, _STRICT) and any(
        is_null_with(argument, columns) for argument in expression.iter_expressions()
    )


def rejects_nulls(predicate: Expr, columns: frozenset[str]) -> bool:
    """Whether no row in which all these columns are NULL can pass."""
    inner = predicate.unnest()
    if isinstance(inner, exp.And):
        return rejects_nulls(inner.left, columns) or rejects_nulls(inner.right, columns)
    if isinstance(inner, exp.Or):
        return rejects_nulls(inner.left, columns) and rejects_nulls(inner.right, columns)
    if isinstance(inner, exp.Not):
        negated = inner.this.unnest()
        if isinstance(negated, exp.Is) and isinstance(negated.expression, exp.Null):
            return is_null_with(negated.this, columns)
    return is_false(inner) or is_null_with(inner, columns)
