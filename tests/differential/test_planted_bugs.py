"""Wrong claims of partitioning show: small files are several tasks, so rows must really meet."""

from __future__ import annotations

import pytest

from tests.differential.case import SPLIT_BYTES, Case, Disagreement, Shape, check
from tests.differential.planted_bugs import PLANTED
from tests.differential.tables import Table

SHAPE = Shape(
    3,
    {
        "planner.force_exchanges": True,
        "planner.partitions": 3,
        "planner.split_bytes": SPLIT_BYTES,
    },
)
TABLES = tuple(
    Table(name, (("k", "i"),), tuple((str(n),) for n in numbers), "parquet")
    for name, numbers in (("t", range(12)), ("u", range(4, 20)))
)


@pytest.mark.parametrize(
    ("bug", "query"),
    [
        (
            "hash partitioning claimed for a full join's NULL",
            "SELECT t.k, count(*) AS n FROM t FULL JOIN u ON t.k = u.k GROUP BY 1",
        ),
        (
            "hash partitioning claimed for a computed key",
            "SELECT DISTINCT d.c FROM (SELECT t.k % 2 AS c FROM t JOIN u ON t.k = u.k) AS d",
        ),
    ],
)
def test_a_wrong_claim_over_files_is_seen(bug: str, query: str) -> None:
    case = Case(TABLES, query, shape=SHAPE)
    check(case)
    with pytest.MonkeyPatch.context() as patch:
        PLANTED[bug](patch)
        with pytest.raises(Disagreement):
            check(case)
