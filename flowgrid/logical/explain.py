"""A plan as an indented text tree, the root first; a shared subplan is printed once."""

from __future__ import annotations

from flowgrid.logical.nodes import KernelQuery, Node
from flowgrid.logical.rendering import consumers


def explain(root: Node) -> str:
    """The tree, two spaces per level; ``(shared n)`` marks and later names a node read twice."""
    counts = consumers(root)
    shared: dict[Node, int] = {}
    lines: list[str] = []
    stack: list[tuple[Node, int]] = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        if node in shared:
            lines.append("  " * depth + f"(shared {shared[node]})")
            continue
        mark = ""
        if counts.get(node, 0) > 1:
            shared[node] = len(shared) + 1
            mark = f" (shared {shared[node]})"
        lines.append("  " * depth + node.describe() + mark)
        inside = [node.bound] if isinstance(node, KernelQuery) and node.bound else node.inputs
        stack.extend((child, depth + 1) for child in reversed(inside))
    return "\n".join(lines)
