"""A tree of nodes as the kernel's SQL: one common table expression per node, in order of need.

The kernel inlines what is used once and computes what is shared once, so the text can be as long as
the plan and still mean one query. User functions cut it: what is below one is a query of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flowgrid.expr.tree import quote
from flowgrid.logical.nodes import NO_COLUMNS, Leaf, Limit, MapBatches, Node, Sort
from flowgrid.protocol.fragment import Field, PythonStep, SqlStep, Step


def topological(
    root: Node, below: Callable[[Node], Sequence[Node]] = lambda node: node.inputs
) -> list[Node]:
    """Every node once, inputs before the nodes that read them; without recursion, for long plans.

    `below` says which nodes a node reads.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, visited = stack.pop()
        if visited:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(below(node)))
    return order


def consumers(root: Node) -> dict[Node, int]:
    """How many edges lead to each node below `root`."""
    counts: dict[Node, int] = {}
    for node in topological(root):
        for child in node.inputs:
            counts[child] = counts.get(child, 0) + 1
    return counts


def select(
    root: Node, relations: Mapping[Node, str], definitions: Sequence[tuple[str, str]] = ()
) -> str:
    """One query for `root`; nodes in `relations` are there already, under these names.

    `definitions` are (name, query) pairs put in front.
    """
    names = {node: quote(name) for node, name in relations.items()}
    tables = [f"{quote(name)} AS ({query})" for name, query in definitions]
    for node in topological(root, lambda node: () if node in relations else node.inputs):
        if node in names:
            continue
        query = _query(node, names)
        if node is root:
            return _with(tables, query)
        names[node] = quote(f"#n{len(tables)}")
        tables.append(f"{names[node]} AS ({query})")
    return _with(tables, f"SELECT * FROM {names[root]}")


def _query(node: Node, names: Mapping[Node, str]) -> str:
    if isinstance(node, Limit) and isinstance(node.input, Sort) and not _is_cut(node.input):
        # ORDER BY and LIMIT in one query is a top-n; in two it is a sort and then a limit.
        top = Sort(node.input.input, node.input.keys, node.limit, node.offset)
        if node.input.input in names:
            return top.query([names[node.input.input]])
    return node.query([names[child] for child in node.inputs])


def _is_cut(sort: Sort) -> bool:
    return sort.limit is not None or sort.offset > 0


def _with(tables: Sequence[str], query: str) -> str:
    return f"WITH {', '.join(tables)} {query}" if tables else query


def empty_relation(fields: Sequence[Field]) -> str:
    """A query without rows that has these columns."""
    columns = ", ".join(f"NULL::{field.type} AS {quote(field.name)}" for field in fields)
    return f"SELECT {columns or NO_COLUMNS} WHERE false"


def steps(root: Node, leaves: Mapping[Leaf, str]) -> tuple[Step, ...]:
    """A tree as the steps of a fragment; `leaves` gives each leaf below `root` its name."""
    relations: dict[Node, str] = {leaf: name for leaf, name in leaves.items()}
    found: list[Step] = []
    for node in topological(root):
        if isinstance(node, MapBatches):
            source = relations.get(node.input)
            if source is None:
                source = f"#s{len(found)}"
                found.append(SqlStep(source, select(node.input, relations)))
            relations[node] = f"#s{len(found)}"
            found.append(
                PythonStep(
                    relations[node], source, node.function, node.schema, node.label,
                    batch_rows=node.batch_rows,
                )
            )  # fmt: skip
    if root not in relations:
        found.append(SqlStep(f"#s{len(found)}", select(root, relations)))
    elif isinstance(root, Leaf):
        found.append(SqlStep("#s0", f"SELECT * FROM {quote(relations[root])}"))
    return tuple(found)
