"""What cannot work is refused by name, and leaves no process and no output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flowgrid as fg
from flowgrid import col, errors
from tests.cluster.census import Premises

pytestmark = pytest.mark.xdist_group("bad-input")

MORE = pa.table({"n": range(1_000)})


@pytest.fixture(scope="module")
def session(shared_premises: Premises) -> Iterator[fg.Session]:
    with fg.connect("local[1]") as opened:
        yield opened


@pytest.fixture
def orders(session: fg.Session, tpch_data: Path) -> fg.DataFrame:
    return session.read_parquet(str(tpch_data / "orders.parquet"))


def test_a_missing_file_is_named(session: fg.Session, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.parquet"
    with pytest.raises(errors.InputError, match=r"nowhere\.parquet"):
        session.read_parquet(str(missing)).collect()


def test_a_glob_without_files_is_named(session: fg.Session, tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match=r"\*\.parquet"):
        session.read_parquet(str(tmp_path / "*.parquet")).collect()


def test_a_file_that_is_no_parquet_is_named(session: fg.Session, tmp_path: Path) -> None:
    letter = tmp_path / "letter.parquet"
    letter.write_text("Dear reader, this is no Parquet file, however long it may become.")
    with pytest.raises(errors.InputError, match=r"letter\.parquet"):
        session.read_parquet(str(letter)).collect()


def test_files_of_different_schemas_are_named(session: fg.Session, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "one.parquet")
    pq.write_table(pa.table({"a": ["x"], "b": [2]}), tmp_path / "two.parquet")
    with pytest.raises(errors.SchemaMismatchError, match=r"two\.parquet"):
        session.read_parquet(str(tmp_path)).collect()


@pytest.mark.parametrize("change", [Path.unlink, lambda path: pq.write_table(MORE, path)])
def test_a_file_that_changes_between_its_listing_and_its_reading_is_named(
    session: fg.Session, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "numbers.parquet"
    pq.write_table(pa.table({"n": [1]}), path)
    numbers = session.read_parquet(str(path))
    assert numbers.columns == ["n"]
    change(path)
    with pytest.raises(errors.InputError, match=r"numbers\.parquet"):
        numbers.collect()


def test_an_unknown_column_comes_with_the_near_names(orders: fg.DataFrame) -> None:
    with pytest.raises(errors.ColumnNotFoundError, match="o_totalprice") as caught:
        orders.filter(col("o_totalprise") > 1).collect()
    assert "o_totalprice" in caught.value.near


def test_an_unknown_column_in_sql_comes_with_the_near_names(
    session: fg.Session, orders: fg.DataFrame
) -> None:
    session.register("orders", orders)
    with pytest.raises(errors.ColumnNotFoundError, match="o_totalprice"):
        session.sql("SELECT o_totalprise FROM orders").collect()


def test_types_that_do_not_fit_are_named(orders: fg.DataFrame) -> None:
    with pytest.raises(errors.TypeMismatchError, match="DATE"):
        orders.select((col("o_orderdate") * 2).alias("twice")).collect()


def test_a_syntax_error_has_a_position(session: fg.Session) -> None:
    with pytest.raises(errors.SqlSyntaxError, match="line 2") as caught:
        session.sql("SELECT 1\nFORM orders WHERE").collect()
    assert caught.value.line == 2


def test_an_output_that_exists_is_left_alone(orders: fg.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(errors.OutputExistsError, match="out"):
        orders.write_parquet(str(out), mode="error")
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("master", ["locale", "local[0]", "local-cluster[2]", "http://x:1"])
def test_a_wrong_master_is_refused_before_anything_starts(premises: Premises, master: str) -> None:
    with pytest.raises(errors.ConfigError, match="local-cluster"):
        fg.connect(master)
    assert not premises.processes()


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"planner.partitions": "many"}, "planner.partitions"),
        ({"executor.memory": "a lot"}, "executor.memory"),
        ({"planner.partition": "4"}, "planner.partitions"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_starts(
    premises: Premises, conf: dict[str, str], said: str
) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        fg.connect("local[1]", conf=conf)
    assert not premises.processes()


def test_a_failing_program_leaves_no_process(premises: Premises) -> None:
    with pytest.raises(errors.InputError), fg.connect("local-cluster[2,1,1024]") as session:
        session.read_parquet("/nowhere/at/all.parquet").collect()
    premises.require_empty()
