"""Whatever the query, FlowGrid answers as DuckDB does, however its rows are spread over tasks."""

from __future__ import annotations

from tests.differential.search import search

EXAMPLES = 100
"""The gate runs the same ones always; `python -m benchmarks fuzz` looks further."""


def test_any_query_means_what_it_means_to_the_kernel() -> None:
    _, found = search(seed_=0, examples=EXAMPLES)
    if found is not None:
        raise found
