"""An ASOF join meets by its equal keys, and has the kernel's rows."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from flowgrid.api.reading import from_arrow
from flowgrid.api.sql import bind
from flowgrid.optimizer.optimizer import optimize
from tests.stage_runner import StageRunner

QUERIES = [
    "SELECT * FROM trades ASOF JOIN quotes USING (k, moment)",
    "SELECT * FROM trades ASOF LEFT JOIN quotes USING (k, moment)",
    "SELECT n, p FROM trades t ASOF LEFT JOIN quotes q ON t.k = q.k AND t.moment < q.moment WHERE n < 9",
    "SELECT n, p FROM trades t ASOF JOIN quotes q ON t.moment >= q.moment",
    "SELECT k, sum(p) FROM trades ASOF JOIN quotes USING (k, moment) GROUP BY k",
]


@pytest.mark.parametrize("forced", [True, False], ids=["forced", "by size"])
@pytest.mark.parametrize("text", QUERIES)
def test_every_left_row_finds_its_neighbour(
    tmp_path: Path, seed: int, text: str, forced: bool
) -> None:
    dice = random.Random(seed)
    kinds: list[int | None] = [*range(7), None]
    trades = pa.table(
        {
            "k": [dice.choice(kinds) for _ in range(3_000)],
            "moment": [dice.choice([dice.randrange(10**6), None]) for _ in range(3_000)],
            "n": list(range(3_000)),
        }
    )
    quotes = pa.table(
        {  # every time once, so that there are no ties
            "k": [dice.choice(kinds) for _ in range(2_000)],
            "moment": dice.sample(range(10**6), 2_000),
            "p": pa.array([dice.randrange(100) for _ in range(2_000)], pa.int8()),
        }
    )
    plan = bind(text, {"trades": from_arrow(trades), "quotes": from_arrow(quotes)}).bound
    assert plan is not None
    runner = StageRunner(tmp_path, 3, {"planner.force_exchanges": forced}, partition_bytes=10_000)
    found = runner.run(optimize(plan))
    with duckdb.connect() as kernel:
        expected = kernel.sql(text).to_arrow_table()
    assert sorted(map(repr, rows(found))) == sorted(map(repr, rows(expected)))
    hashed = forced and ("USING" in text or "t.k" in text)
    assert ("hash(" in runner.stages.split("AsofJoin")[0]) == hashed
    assert "gathered" not in runner.stages


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    """Sums come back as decimals from one side and as integers from the other."""
    return [
        tuple(int(v) if v is not None else None for v in row.values()) for row in table.to_pylist()
    ]
