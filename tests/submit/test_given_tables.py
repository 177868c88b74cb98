"""Tables of the driver as blocks: written once, cut to size, gone with the session."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import zmq

from flowgrid.io.stage_reader import StageReader
from flowgrid.logical.nodes import GivenTable
from flowgrid.protocol.fragment import Field
from flowgrid.submit.given_tables import GivenTables
from flowgrid.submit.leftovers import remove_stale
from flowgrid.transport.host import host_identity
from flowgrid.transport.remote_blocks import RemoteBlocks


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[GivenTables]:
    with_room = GivenTables(tmp_path, None, None, partition_bytes=800)
    yield with_room
    with_room.close()


def node(table: pa.Table) -> GivenTable:
    return GivenTable(tuple(Field(name, "BIGINT") for name in table.column_names), table)


def rows_of(tables: GivenTables, given: GivenTable, number: int = 4) -> list[int]:
    spec = tables.give(number, given)
    assert spec.given is not None
    with zmq.Context() as context, RemoteBlocks(context, None) as remote:
        reader = StageReader(9, spec.given, None, host_identity(), remote.open)
        found: list[int] = pa.Table.from_batches(reader.batches())["n"].to_pylist()
    return found


def test_a_table_is_cut_into_partitions_in_order(tables: GivenTables) -> None:
    given = node(pa.table({"n": range(1_000)}))
    spec = tables.give(4, given)
    assert spec.number == 4
    assert spec.partition_count == 10
    assert sum(rows[0] for rows in spec.given_rows) == 1_000
    assert rows_of(tables, given) == list(range(1_000))


def test_a_table_is_written_once_whatever_its_number_is(
    tables: GivenTables, tmp_path: Path
) -> None:
    given = node(pa.table({"n": [1, 2, 3]}))
    assert rows_of(tables, given, 0) == rows_of(tables, given, 7) == [1, 2, 3]
    assert len(list(tmp_path.rglob("job-0/*"))) == 1


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_table_without_columns_keeps_its_rows(tables: GivenTables, rows: int) -> None:
    spec = tables.give(1, node(pa.table({"n": range(rows)}).select([])))
    assert sum(one[0] for one in spec.given_rows) == rows


def test_no_rows_are_one_partition(tables: GivenTables) -> None:
    spec = tables.give(1, node(pa.table({"n": pa.array([], pa.int64())})))
    assert spec.given_rows == ((0,),)


def test_nobody_removes_the_tables_of_a_driver_that_lives(
    tables: GivenTables, tmp_path: Path
) -> None:
    given = node(pa.table({"n": [1, 2, 3]}))
    tables.give(0, given)
    (directory,) = tmp_path.iterdir()
    long_ago = time.time() - 3600
    os.utime(directory, (long_ago, long_ago))
    assert remove_stale(tmp_path) == []
    assert rows_of(tables, given) == [1, 2, 3]


def test_executors_on_other_hosts_are_told_where_to_ask(tmp_path: Path) -> None:
    served = GivenTables(tmp_path, "tcp://127.0.0.1:0", None)
    try:
        spec = served.give(1, node(pa.table({"n": [1]})))
        assert spec.given is not None
        assert spec.given.executors[0].data_address.startswith("tcp://127.0.0.1:")
    finally:
        served.close()


def test_closing_removes_everything(tables: GivenTables, tmp_path: Path) -> None:
    tables.give(1, node(pa.table({"n": [1]})))
    assert list(tmp_path.iterdir()) != []
    tables.close()
    tables.close()
    assert list(tmp_path.iterdir()) == []


def test_blocks_go_with_the_table_that_nobody_asks_for_any_more(tmp_path: Path) -> None:
    tables = GivenTables(tmp_path, None, None)
    given = node(pa.table({"n": [1, 2, 3]}))
    tables.give(0, given)
    assert list(tmp_path.rglob("job-0/*"))

    del given
    gc.collect()

    assert not list(tmp_path.rglob("job-0/*"))
    tables.close()
