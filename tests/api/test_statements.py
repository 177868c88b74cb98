"""Statements of SQL run at once: tables, views, files, explanations. What is not known is refused."""

from __future__ import annotations

import decimal
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flowgrid as fg
from flowgrid.api.session import Session

COVERS = ["statements", "sql.statements", "catalog"]


@pytest.fixture(autouse=True)
def numbers(session: Session) -> None:
    session.register("numbers", session.range(10))


def names(session: Session) -> list[str]:
    return [row["name"] for row in session.sql("SHOW TABLES").to_pylist()]


def test_a_view_is_its_query_whenever_it_is_read(session: Session) -> None:
    session.sql("CREATE VIEW few AS SELECT id FROM numbers WHERE id < 5")
    session.sql("CREATE VIEW fewer(n) AS SELECT id + 1 FROM few WHERE id > 1")
    assert session.sql("FROM fewer").to_pylist() == [{"n": 3}, {"n": 4}, {"n": 5}]

    session.register("numbers", session.range(3))

    assert session.table("few").count() == 3
    assert session.sql("SELECT max(n) AS n FROM fewer").to_pylist() == [{"n": 3}]


def test_a_table_is_computed_once(session: Session) -> None:
    made = session.sql("CREATE TABLE kept(number) AS SELECT id AS x, id % 2 AS odd FROM numbers")
    assert made.to_pylist() == [{"Count": 10}]
    session.register("numbers", session.range(3))

    assert session.table("kept").columns == ["number", "odd"]
    assert session.sql("SELECT sum(odd) AS s FROM kept").to_pylist() == [{"s": 5}]


def test_a_table_keeps_the_types_that_arrow_does_not_have(session: Session) -> None:
    text = "SELECT 1::HUGEINT AS h, uuid() AS u, 'x'::BLOB AS b, 1.50::DECIMAL(5,2) AS d"
    session.sql(f"CREATE TABLE typed AS {text}")

    described = session.sql("DESCRIBE typed").to_pylist()
    assert [row["column_type"] for row in described] == ["HUGEINT", "UUID", "BLOB", "DECIMAL(5,2)"]
    (row,) = session.sql("SELECT h, u, b, d FROM typed").to_pylist()
    assert (row["h"], row["b"], row["d"]) == (1, b"x", decimal.Decimal("1.50"))
    assert isinstance(row["u"], uuid.UUID)


def test_a_name_that_is_taken_is_replaced_only_if_that_is_said(session: Session) -> None:
    session.sql("CREATE TEMP TABLE t AS VALUES (1)")
    with pytest.raises(fg.PlanError, match=r"table 'T' is there already: CREATE OR REPLACE VIEW"):
        session.sql("CREATE VIEW T AS SELECT 2")
    session.sql("CREATE TABLE IF NOT EXISTS t AS SELECT 3")
    assert session.sql("FROM t").to_pylist() == [{"col0": 1}]
    session.sql("CREATE OR REPLACE VIEW t AS SELECT 2 AS two")
    assert session.sql("FROM t").to_pylist() == [{"two": 2}]


def test_a_view_that_reads_itself_is_refused(session: Session) -> None:
    session.sql("CREATE OR REPLACE VIEW v AS SELECT 1 AS x")
    session.sql("CREATE OR REPLACE VIEW v AS SELECT * FROM v")
    with pytest.raises(fg.PlanError, match="the view 'v' reads itself"):
        session.sql("FROM v")


def test_what_is_dropped_is_gone(session: Session) -> None:
    session.sql("CREATE VIEW v AS SELECT 1 AS x")
    session.sql("CREATE TABLE t AS SELECT 1 AS x")
    assert names(session) == ["numbers", "t", "v"]
    with pytest.raises(fg.PlanError, match="'v' is a view: DROP VIEW v"):
        session.sql("DROP TABLE t, v")
    with pytest.raises(fg.PlanError, match="unknown table 'w'"):
        session.sql("DROP VIEW w")

    session.sql("DROP VIEW IF EXISTS v, w")
    session.sql("DROP TABLE t, numbers")

    assert names(session) == []


def test_copy_writes_what_frames_write(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert session.sql(f"COPY numbers TO '{path}' (FORMAT parquet)").to_pylist() == [{"Count": 10}]
    assert pq.read_table(path)["id"].to_pylist() == list(range(10))
    with pytest.raises(fg.OutputExistsError):
        session.sql(f"COPY numbers TO '{path}' (FORMAT parquet)")

    session.sql(f"COPY (FROM numbers LIMIT 2) TO '{path}' (FORMAT parquet, OVERWRITE)")
    session.sql(f"COPY numbers(id) TO '{path}' (FORMAT parquet, APPEND true, COMPRESSION 'ZSTD')")
    assert pq.read_table(path).num_rows == 12


def test_copy_takes_the_format_from_the_name(session: Session, tmp_path: Path) -> None:
    session.sql(f"COPY numbers TO '{tmp_path}/n.csv' (DELIM ';', HEADER false, MODE 'overwrite')")
    session.sql(f"COPY numbers TO '{tmp_path}/n.json'")
    (file,) = (tmp_path / "n.json").glob("*.json")
    assert file.read_text().splitlines()[3] == '{"id":3}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("COPY numbers TO 'x.txt'", "'txt' is none of them"),
        ("COPY numbers TO 'x'", "'x' does not say which"),
        ("COPY numbers TO 'x.csv' (QUOTE '!')", "write_csv has no option 'quote'"),
        ("COPY numbers TO 'x.csv' (OVERWRITE, APPEND)", "one of these: overwrite or append"),
        ("COPY numbers TO 'x.csv' (OVERWRITE_OR_IGNORE)", "OVERWRITE replaces, APPEND adds"),
        ("COPY numbers TO 'x.csv' (PARTITION_BY (a))", "unknown column 'a'"),
        ("COPY numbers FROM 'x.csv'", "read files with FROM 'file'"),
        ("CREATE TABLE x (a INTEGER)", "takes its types from a query"),
        ("CREATE TABLE s.x AS SELECT 1", "names without schemas"),
        ("CREATE MATERIALIZED VIEW x AS SELECT 1", "MATERIALIZED"),
        ("CREATE VIEW x(a, b) AS SELECT 1", "2 names for the 1 columns"),
        ("CREATE VIEW x AS SELECT y FROM numbers", "unknown column 'y'"),
        ("CREATE SCHEMA s", "tables and views, nothing else"),
        ("DROP SCHEMA s", "tables and views, nothing else"),
        ("DROP TABLE numbers CASCADE", "DROP TABLE has no CASCADE"),
        ("SHOW ALL TABLES", "SHOW is no query"),
        ("EXPLAIN (FORMAT json) SELECT 1", "no options here but ANALYZE"),
        ("INSERT INTO numbers SELECT 1", "INSERT is no query"),
        ("SUMMARIZE numbers", "SUMMARIZE is no query"),
    ],
)
def test_what_is_not_known_is_refused_by_name(session: Session, text: str, reason: str) -> None:
    with pytest.raises(fg.PlanError, match=reason):
        session.sql(text)
    assert names(session) == ["numbers"]


def test_plans_are_frames_of_text(session: Session) -> None:
    rows = session.sql("EXPLAIN SELECT id FROM numbers WHERE id > $least", {"least": 5}).to_pylist()
    assert [row["explain_key"] for row in rows] == ["logical", "optimized", "stages"]
    assert "id > 5" in rows[1]["explain_value"].replace('"', "")
    (row,) = session.sql("-- how?\nEXPLAIN ANALYZE SELECT id FROM numbers").to_pylist()
    assert row == {"explain_key": "analyzed", "explain_value": "one query, 10 rows"}
    with pytest.raises(fg.SqlSyntaxError, match="line 2, column 14"):
        session.sql("EXPLAIN\n  SELECT a b c")


def test_a_schema_is_a_frame_of_text(session: Session) -> None:
    wanted = [
        {"column_name": "id", "column_type": "BIGINT"},
        {"column_name": "s", "column_type": "VARCHAR"},
    ]
    assert session.sql("DESCRIBE SELECT *, id::VARCHAR AS s FROM numbers").to_pylist() == wanted
    assert session.sql("DESC numbers").to_pylist() == wanted[:1]


def test_a_query_reads_the_tables_that_there_were(session: Session) -> None:
    frame = session.sql("SELECT count(*) AS n FROM numbers")
    session.register("numbers", pa.table({"other": [1]}))

    assert frame.to_pylist() == [{"n": 10}]
    assert "unknown" not in frame.explain("optimized")
