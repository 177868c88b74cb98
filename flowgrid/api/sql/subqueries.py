"""Subqueries as dependent joins of the relation that their expression is evaluated over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from flowgrid.api.sql.expressions import Block
from flowgrid.api.sql.scopes import Bound
from flowgrid.expr.tree import Expr, bracketed, column, conjunction, conjuncts, equality
from flowgrid.logical.dependent import (
    CannotPartition,
    DependentJoin,
    DependentKind,
    FreeColumns,
    one_row,
)
from flowgrid.logical.nodes import Aggregate, Filter, Named, Node

_NEGATED: dict[type[Expr], type[exp.Binary]] = {
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.LT: exp.GTE,
    exp.GTE: exp.LT,
    exp.GT: exp.LTE,
    exp.LTE: exp.GT,
}


@dataclass(frozen=True)
class Quantified:
    """``operand operator ANY (query)``; IN is = ANY."""

    operand: Expr
    operator: type[Expr]
    query: Expr


def keep_where(predicate: Expr | None, block: Block) -> None:
    """The block's relation filtered by a resolved predicate, subqueries and all."""
    parts = list(conjuncts(predicate))
    plain = conjunction(part for part in parts if not block.has_subquery(part))
    if plain is not None:
        block.relation = Filter(block.relation, plain)
    for part in parts:
        if block.has_subquery(part):
            _keep_where_subquery(part, block)


def _keep_where_subquery(part: Expr, block: Block) -> None:
    """A conjunct needs no NULL told from false, so EXISTS and IN are semi and anti joins."""
    negated = isinstance(part, exp.Not)
    inner = part.this.unnest() if isinstance(part, exp.Not) else part
    exists = _exists(inner, block)
    if exists is not None:
        kind = DependentKind.ANTI if negated else DependentKind.SEMI
        block.relation = DependentJoin(block.relation, _bind(exists, block).node, kind)
        return
    quantified = _quantified(inner, block)
    if quantified is not None:
        test, is_all = quantified
        if test.operator is exp.EQ and not is_all and not negated:
            _keep_in(test, block)
            return
        if test.operator is exp.EQ and is_all != negated:
            _keep_not_in(test, block)
            return
    value = answered(part, block)  # first, as it changes the relation
    block.relation = Filter(block.relation, value)


def _keep_in(test: Quantified, block: Block) -> None:
    operands = _operands(test.operand, block)
    query = _bind(test.query, block)
    condition = conjunction(map(equality, operands, _values(query, operands)))
    block.relation = DependentJoin(block.relation, query.node, DependentKind.SEMI, condition)


def _keep_not_in(test: Quantified, block: Block) -> None:
    """True if all values are known to differ: no match, and no NULL on either side unless empty."""
    operands = _operands(test.operand, block)
    query = _bind(test.query, block)
    pairs = list(map(equality, operands, _values(query, operands)))
    if len(pairs) > 1:
        possible = conjunction(_not_false(pair) for pair in pairs)
        block.relation = DependentJoin(block.relation, query.node, DependentKind.ANTI, possible)
        return
    block.relation = DependentJoin(block.relation, query.node, DependentKind.ANTI, pairs[0])
    count, known = _summary(query, block, exp.Count(this=exp.Star()), _count_of(query))
    no_null = exp.And(
        this=exp.Not(this=_is_null(operands[0])), expression=exp.EQ(this=known, expression=count)
    )
    empty = exp.EQ(this=count.copy(), expression=exp.Literal.number(0))
    block.relation = Filter(block.relation, exp.Or(this=empty, expression=exp.Paren(this=no_null)))


def answered(expression: Expr, block: Block) -> Expr:
    """The expression with every subquery replaced by columns that the block's relation now has."""
    if not block.has_subquery(expression):
        return expression

    def replace(node: Expr) -> Expr:
        exists = _exists(node, block)
        quantified = _quantified(node, block)
        if exists is None and quantified is None and block.subquery(node) is None:
            return node
        known = block.answers.get(node)
        if known is None:
            key = node.copy()
            if exists is not None:
                known = _exists_value(exists, block)
            elif quantified is not None:
                known = _quantified_value(*quantified, block)
            else:
                known = _scalar_value(node, block)
            block.answers[key] = known
        return bracketed(known, node.parent)

    return expression.copy().transform(replace, copy=False)


def _exists_value(query: Expr, block: Block) -> Expr:
    return _mark(_bind(query, block).node, None, block)


def _scalar_value(node: Expr, block: Block) -> Expr:
    query = _bind(block.trees[node.name], block)
    if len(query.outputs) != 1:
        raise CannotPartition("a scalar subquery with several columns")
    block.relation = DependentJoin(block.relation, query.node, DependentKind.SINGLE)
    return query.outputs[0].expression.copy()


def _quantified_value(test: Quantified, is_all: bool, block: Block) -> Expr:
    operands = _operands(test.operand, block)
    query = _bind(test.query, block)
    values = _values(query, operands)
    if len(operands) > 1:
        if test.operator is not exp.EQ:
            raise CannotPartition("rows compared with ANY or ALL")
        pairs = list(map(equality, operands, values))
        matched = _mark(query.node, conjunction(pairs), block)
        possible = _mark(query.node, conjunction(map(_not_false, pairs)), block)
        value: Expr = exp.Case(
            ifs=[_when(matched, exp.true()), _when(possible, exp.null())], default=exp.false()
        )
    else:
        value = _compared_with_any(test, operands[0], query, block)
    return exp.Not(this=value) if is_all else value


def _compared_with_any(test: Quantified, operand: Expr, query: Bound, block: Block) -> Expr:
    everything, known_ones = exp.Count(this=exp.Star()), _count_of(query)
    value = query.outputs[0].expression
    if test.operator is exp.EQ:
        matched = _mark(query.node, equality(operand, value), block)
        count, known = _summary(query, block, everything, known_ones)
    else:
        count, known, least, most = _summary(
            query,
            block,
            everything,
            known_ones,
            exp.Min(this=value.copy()),
            exp.Max(this=value.copy()),
        )
        matched = test.operator(
            this=bracketed(operand, exp.EQ()),
            expression=most if issubclass(test.operator, exp.LT | exp.LTE) else least,
        )
        if test.operator is exp.NEQ:
            differs = exp.NEQ(this=bracketed(operand, exp.EQ()), expression=most)
            matched = exp.Or(this=matched, expression=differs)
    unknown = exp.Or(this=_is_null(operand), expression=exp.LT(this=known, expression=count.copy()))
    empty = exp.EQ(this=count, expression=exp.Literal.number(0))
    return exp.Case(
        ifs=[_when(matched, exp.true()), _when(empty, exp.false()), _when(unknown, exp.null())],
        default=exp.false(),
    )


def _exists(node: Expr, block: Block) -> Expr | None:
    return block.subquery(node.this) if isinstance(node, exp.Exists) else None


def _quantified(node: Expr, block: Block) -> tuple[Quantified, bool] | None:
    """The test, and whether it is the negation of that test, as ALL is of ANY."""
    if isinstance(node, exp.In):
        query = block.subquery(node.args.get("query"))
        return (Quantified(node.this, exp.EQ, query), False) if query is not None else None
    if type(node) in _NEGATED and isinstance(node.expression, exp.Any | exp.All):
        query = block.subquery(node.expression.this)
        if query is None:
            return None
        if isinstance(node.expression, exp.Any):
            return Quantified(node.this, type(node), query), False
        return Quantified(node.this, _NEGATED[type(node)], query), True
    return None


def _operands(operand: Expr, block: Block) -> list[Expr]:
    inner = operand.unnest()
    items = inner.expressions if isinstance(inner, exp.Tuple) else [inner]
    return [answered(item, block) for item in items]


def _values(query: Bound, operands: Sequence[Expr]) -> list[Expr]:
    if len(query.outputs) != len(operands):
        raise CannotPartition("a row compared with one struct column")
    return [output.expression for output in query.outputs]


def _bind(tree: Expr, block: Block) -> Bound:
    query = block.context.bind_query(tree, block.scope, block.context.names.anonymous)
    missing = FreeColumns().of(query.node) & block.scope.own_columns() - set(block.relation.columns)
    if missing:
        raise CannotPartition(f"a subquery reads {sorted(missing)[0]!r}, which is not grouped by")
    return query


def _mark(right: Node, condition: Expr | None, block: Block) -> Expr:
    if condition is None and one_row(right):
        return exp.true()
    name = block.context.names.computed()
    block.relation = DependentJoin(block.relation, right, DependentKind.MARK, condition, name)
    return exp.Not(this=_is_null(column(name)))


def _summary(query: Bound, block: Block, *aggregates: Expr) -> list[Expr]:
    """Aggregates over all rows of the query, as columns of the block's relation."""
    named = [Named(block.context.names.computed(), aggregate) for aggregate in aggregates]
    summary = Aggregate(query.node, (), tuple(named))
    block.relation = DependentJoin(block.relation, summary, DependentKind.SINGLE)
    return [column(found.name) for found in named]


def _count_of(query: Bound) -> Expr:
    return exp.Count(this=query.outputs[0].expression.copy())


def _is_null(value: Expr) -> Expr:
    return exp.Is(this=bracketed(value, exp.Is()), expression=exp.null())


def _not_false(value: Expr) -> Expr:
    return exp.Not(
        this=exp.Paren(this=exp.Is(this=exp.Paren(this=value.copy()), expression=exp.false()))
    )


def _when(condition: Expr, value: Expr) -> Expr:
    return exp.If(this=condition, true=value)
