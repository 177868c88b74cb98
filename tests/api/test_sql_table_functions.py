"""Files and integers in FROM are scans of ours, with the kernel's rows, names and types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowgrid.errors import InputError
from flowgrid.logical.nodes import IntegerRange, Scan
from flowgrid.logical.rendering import topological
from tests.api.sql_answers import Answers, one_task_parts, queries
from tests.stage_runner import StageRunner

COVERS = ["sql.table_functions"]

FILES = """
SELECT * FROM 'DIR/t.parquet'
SELECT t.a FROM 'DIR/t.parquet' WHERE a > 1
SELECT * FROM 'DIR/*.parquet' x JOIN 'DIR/t.csv' y ON x.a = y.a
SELECT * FROM read_parquet('DIR/t.parquet') WHERE b > 10
SELECT q FROM read_parquet(['DIR/t.parquet', 'DIR/t.parquet']) AS x(p, q)
SELECT read_parquet.a FROM read_parquet('DIR/t.parquet', hive_partitioning = false)
SELECT * FROM parquet_scan('DIR/t.parquet')
SELECT * FROM read_csv('DIR/t.csv')
SELECT * FROM read_csv_auto('DIR/t.csv', header = true, delim := ',', nullstr = '')
SELECT * FROM read_csv('DIR/t.csv', all_varchar = true)
SELECT * FROM 'DIR/t.csv'
SELECT * FROM read_json('DIR/t.json')
SELECT count(*) FROM 'DIR/t.json' WHERE a IN (SELECT a FROM 'DIR/t.parquet')
"""

INTEGERS = """
SELECT * FROM range(10)
SELECT range FROM range(2, 10, 3)
SELECT * FROM range(5, -5, -2)
SELECT * FROM generate_series(1, 5)
SELECT generate_series FROM generate_series(5, 1, -1) WHERE generate_series > 2
SELECT * FROM generate_series(1, 5) g(i) JOIN t ON a = i
SELECT r + 1, r.r FROM range(4) r
SELECT sum(i) FROM range(100000) x(i)
WITH range AS (SELECT 1 AS x) SELECT * FROM range, range(2)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    opened = Answers()
    folder = tmp_path_factory.mktemp("files")
    for ending in ("parquet", "csv", "json"):
        opened.connection.execute(f"COPY t TO '{folder}/t.{ending}'")
    opened.folder = folder
    yield opened
    opened.close()


@pytest.mark.parametrize("text", queries(FILES))
def test_files_are_scans(answers: Answers, text: str) -> None:
    plan = answers.agree(text.replace("DIR", str(answers.folder)))
    assert one_task_parts(plan) == []
    assert any(isinstance(node, Scan) for node in topological(plan))


@pytest.mark.parametrize("text", queries(INTEGERS))
def test_integers_are_ranges(answers: Answers, text: str) -> None:
    plan = answers.agree(text)
    assert one_task_parts(plan) == []
    assert any(isinstance(node, IntegerRange) for node in topological(plan))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_parquet('DIR/t.parquet', filename = true)",
        "SELECT * FROM read_csv('DIR/t.csv', union_by_name = true)",
        "SELECT * FROM glob('DIR/*.csv')",
        "SELECT * FROM range(DATE '2024-01-01', DATE '2024-02-01', INTERVAL 1 DAY)",
    ],
)
def test_what_no_scan_understands_is_the_kernels(answers: Answers, text: str) -> None:
    (reason,) = one_task_parts(answers.agree(text.replace("DIR", str(answers.folder))))
    assert reason.startswith("the table function")


def test_a_table_of_that_name_hides_a_file(answers: Answers) -> None:
    answers.tables["t.parquet"] = answers.tables["v"]
    assert answers.bind("SELECT * FROM 't.parquet'").columns == ("a", "e")
    del answers.tables["t.parquet"]


def test_a_file_that_is_not_there_is_an_error_at_once(answers: Answers, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.parquet"):
        answers.bind(f"SELECT * FROM '{tmp_path}/nothing.parquet'")


def test_stages_read_files_and_ranges_in_parts(answers: Answers, tmp_path: Path) -> None:
    file = f"'{answers.folder}/t.parquet'"
    text = f"SELECT c, sum(i)::BIGINT AS s FROM {file}, range(90000) r(i) GROUP BY c"
    runner = StageRunner(tmp_path, slots=2, conf={"planner.force_exchanges": True})
    found = runner.run(answers.plan(text)).to_pylist()
    assert sorted(map(repr, (tuple(row.values()) for row in found))) == sorted(
        map(repr, answers.expected(text))
    )
    assert "IntegerRange 0..90000" in runner.stages
