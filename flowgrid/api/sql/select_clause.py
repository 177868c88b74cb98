"""One SELECT as nodes, clause by clause in the order in which they mean something."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from flowgrid.api.sql.computed_limits import is_computed, limited
from flowgrid.api.sql.expressions import Block, resolve
from flowgrid.api.sql.from_clause import bind_from, sampled
from flowgrid.api.sql.grouping import Keys, aggregate, group_keys, needs_group
from flowgrid.api.sql.ordering import Ordering, limits
from flowgrid.api.sql.scopes import Bound, Context, Naming, Output, Scope
from flowgrid.api.sql.select_list import Item, expanded, select_items
from flowgrid.api.sql.subqueries import answered, keep_where
from flowgrid.api.sql.unnesting import unnested
from flowgrid.expr.tree import Expr, column, conjunction
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.nodes import Distinct, Limit, Named, Node, Project, Sort, SortKey, Window

_CLAUSES = frozenset(
    """
    with_ expressions distinct from_ joins where group having qualify windows order limit offset
    sample
    """.split()  # noqa: SIM905, quotes would say no more
)


def bind_select(select: exp.Select, scope: Scope, context: Context, naming: Naming) -> Bound:
    """The SELECT over `scope`, which has its common table expressions and no tables yet."""
    for clause, value in select.args.items():
        if value and clause not in _CLAUSES:
            raise CannotPartition(f"the clause {clause.upper().strip('_')}")
    relation = bind_from(select, scope, context)
    if select.args.get("sample"):
        relation = sampled(relation, select.args["sample"])
    block = Block(context, scope, relation)
    block.windows = {window.name.casefold(): window for window in select.args.get("windows") or []}
    block.aliases = {
        item.alias.casefold(): item.this
        for item in select.expressions
        if isinstance(item, exp.Alias)
    }
    where = select.args.get("where")
    if where:  # with COLUMNS(…) it is to be true for each of them
        keep_where(conjunction(one.expression for one in expanded(where.this, block)), block)
    items = list(select_items(select, block))
    return _Result(select, block, items).bound(naming)


class _Result:
    """What follows WHERE: groups, windows, the select list, and the order of the rows."""

    def __init__(self, select: exp.Select, block: Block, items: list[Item]) -> None:
        self.select, self.block, self.items = select, block, items
        self.on = self._distinct_on()
        self.keys = self._group_keys()
        self.having = self._predicate("having")
        self.qualify = self._predicate("qualify")
        self.ordering = Ordering.of(
            select.args.get("order"),
            [item.name for item in items],
            lambda tree: resolve(tree, block, self._prefers_alias),
        )

    def _group_keys(self) -> Keys:
        all_keys = [item.expression for item in self.items if not needs_group(item.expression)]
        return group_keys(self.select.args.get("group"), self._group_key, all_keys)

    def _group_key(self, tree: Expr) -> Expr:
        if isinstance(tree, exp.Literal) and tree.is_int:
            return self.items[int(tree.this) - 1].expression
        return resolve(tree, self.block)

    def _prefers_alias(self, name: str) -> bool:
        """An ungrouped column means nothing after GROUP BY, so an alias of its name is meant."""
        return self._aggregated() and not any(
            isinstance(key, exp.Column) and key.name == name for key in self.keys.expressions
        )

    def _aggregated(self) -> bool:
        clauses = self.select.args
        return bool(clauses.get("group") or clauses.get("having")) or any(
            needs_group(item.expression) for item in self.items
        )

    def _predicate(self, clause: str) -> Expr | None:
        found = self.select.args.get(clause)
        return resolve(found.this, self.block, self._prefers_alias) if found else None

    def _distinct_on(self) -> list[Expr] | None:
        distinct = self.select.args.get("distinct")
        on = distinct.args.get("on") if distinct else None
        if on is None:
            return None
        trees = on.expressions if isinstance(on, exp.Tuple) else [on]
        return [self._group_key(tree.unnest()) for tree in trees]

    def bound(self, naming: Naming) -> Bound:
        limit, offset = (None, 0) if is_computed(self.select) else limits(self.select)
        self._aggregate()
        keep_where(self.having, self.block)
        self._compute_windows()
        keep_where(self.qualify, self.block)
        return self._projected(naming, limit, offset)

    def _expressions(self) -> list[Expr]:
        """All that is evaluated after grouping, in the order that `_take` expects."""
        single = [found for found in (self.having, self.qualify) if found is not None]
        return [
            *(item.expression for item in self.items), *single, *(self.on or ()),
            *self.ordering.expressions(),
        ]  # fmt: skip

    def _take(self, expressions: Sequence[Expr]) -> None:
        rest = iter(expressions)
        self.items = [Item(item.name, next(rest)) for item in self.items]
        self.having = next(rest) if self.having is not None else None
        self.qualify = next(rest) if self.qualify is not None else None
        self.on = [next(rest) for _ in self.on] if self.on is not None else None
        self.ordering = self.ordering.over(rest)

    def _aggregate(self) -> None:
        if self._aggregated() or any(map(needs_group, self._expressions())):
            self._take(aggregate(self.block, self.keys, self._expressions()))

    def _compute_windows(self) -> None:
        block = self.block
        windows: dict[Expr, Named] = {}

        def replace(node: Expr) -> Expr:
            if not isinstance(node, exp.Window):
                return node
            if node not in windows:
                windows[node.copy()] = Named(block.context.names.computed(), answered(node, block))
            return column(windows[node].name)

        # HAVING cannot have windows, so that it was applied already does no harm.
        self._take([found.copy().transform(replace, copy=False) for found in self._expressions()])
        if windows:
            block.relation = Window(block.relation, tuple(windows.values()))

    def _projected(self, naming: Naming, limit: int | None, offset: int) -> Bound:
        block, names = self.block, self.block.context.names
        self._take(unnested(self._expressions(), block))
        result = [
            Named(naming(index, item.name), answered(item.expression, block))
            for index, item in enumerate(self.items)
        ]
        places = {
            item.expression: named.name
            for item, named in reversed(list(zip(self.items, result, strict=True)))
        }
        hidden: list[Named] = []

        def place(expression: Expr) -> Expr:
            if expression not in places:
                places[expression] = names.computed()
                hidden.append(Named(places[expression], answered(expression, block)))
            return column(places[expression])

        keys = self.ordering.keys([named.name for named in result], place)
        on = tuple(place(found).name for found in self.on) if self.on is not None else None
        node: Node = Project(block.relation, tuple(result + hidden))
        if self.select.args.get("distinct"):
            if hidden and on is None:
                raise CannotPartition("DISTINCT ordered by what is not selected")
            node = Distinct(node, on, keys if on is not None else ())
        if is_computed(self.select):
            node = limited(node, keys, self.select, block)
        else:
            node = ordered(node, keys, limit, offset)
        if hidden:
            node = Project(node, tuple(Named(named.name, column(named.name)) for named in result))
        outputs = zip(self.items, result, strict=True)
        return Bound(node, tuple(Output(item.name, column(named.name)) for item, named in outputs))


def ordered(node: Node, keys: tuple[SortKey, ...], limit: int | None, offset: int) -> Node:
    if keys:
        return Sort(node, keys, limit, offset)
    return Limit(node, limit, offset) if limit is not None or offset else node
