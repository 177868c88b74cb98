"""Stages are made once, told of their sizes, and printed: the same plan finds what is there."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flowgrid.config import MIB, Config
from flowgrid.expr.tree import column, parse
from flowgrid.logical.nodes import (
    Aggregate,
    Filter,
    GivenTable,
    IntegerRange,
    Limit,
    MapBatches,
    Named,
)
from flowgrid.physical.exchanges import Pending, StageRead
from flowgrid.physical.layout import Shape
from flowgrid.physical.partitioning import Hashed, Single, Spread
from flowgrid.physical.rehearsal import _give, rehearse
from flowgrid.physical.stage_book import Pipeline, StageBook, all_of
from flowgrid.physical.stages import HASH_COLUMN, label, with_column
from flowgrid.protocol import codec
from flowgrid.protocol.fragment import BlocksOutput, Field
from flowgrid.protocol.job_graph import OutputKind, StageStatistics

COVERS = ["stages", "rehearsal", "planning"]

NUMBERS = IntegerRange((Field("id", "BIGINT"),), 0, 1_000, 1)


@pytest.fixture
def book() -> StageBook:
    return StageBook(Shape(2, Config()), _give, seed=7)


def test_a_place_has_one_exchange_however_often_it_is_asked(book: StageBook) -> None:
    first = book.hashed("here", NUMBERS, [column("id")], ["BIGINT"], 4)
    again = book.hashed("here", NUMBERS, [column("id")], ["BIGINT"], 4)
    (spec,) = book.take_new()
    assert isinstance(first.node, StageRead)
    assert isinstance(again.node, StageRead)
    assert first.node.exchange is again.node.exchange
    assert first.partitioning == Hashed(frozenset([('"id"',)]), ("BIGINT",), 4)
    assert (spec.number, spec.partition_count, spec.target_count) == (0, 2, 4)
    assert spec.output is OutputKind.BLOCKS
    assert book.take_new() == (), "every stage is handed out once"


def test_the_fragment_of_a_stage_routes_rows_by_a_column_that_is_not_written(
    book: StageBook,
) -> None:
    read = book.hashed("here", NUMBERS, [column("id")], ["BIGINT"], 4).node
    (spec,) = book.take_new()
    fragment = codec.fragments.decode(spec.payload)
    assert fragment.output == BlocksOutput(4, "hash", HASH_COLUMN)
    assert len(spec.tasks) == 2
    assert read.columns == ("id",)
    assert with_column(NUMBERS, "#x", parse("id")).columns == ("id", "#x")


def test_a_stage_that_has_succeeded_tells_what_it_wrote(book: StageBook) -> None:
    book.hashed("here", NUMBERS, [column("id")], ["BIGINT"], 2)
    assert book.measured() == book.explain()
    book.finished(0, StageStatistics((600, 400), (4_800, 3_200)))
    assert "→ 1,000 rows, 8,000 bytes" in book.measured().splitlines()[0]


def test_what_reads_a_stage_waits_for_its_sizes(book: StageBook) -> None:
    read = book.hashed("here", NUMBERS, [column("id")], ["BIGINT"], 2)
    with pytest.raises(Pending):
        book.gathered("there", read)
    sizes = StageStatistics((600, 400), (4_800, 3_200))
    book.finished(0, sizes)
    book.finished(0, StageStatistics((0, 0), (0, 0)))
    assert isinstance(read.node, StageRead)
    assert read.node.exchange.statistics == sizes, "hearing it twice changes nothing"
    assert isinstance(book.gathered("there", read).partitioning, Single)


def test_rows_of_one_task_stay_there(book: StageBook) -> None:
    alone = Pipeline(Limit(NUMBERS, 1), Single())
    assert book.gathered("here", alone) is alone
    assert book.take_new() == ()


def test_a_small_exchange_settles_in_one_task(book: StageBook) -> None:
    read = book.hashed("here", NUMBERS, [column("id")], ["BIGINT"], 2)
    assert book.settled(read) is read, "nobody knows its size yet"
    book.finished(0, StageStatistics((1, 1), (8, 8)))
    assert isinstance(book.settled(read).partitioning, Single)


def test_a_large_exchange_stays_where_it_is(book: StageBook) -> None:
    read = book.hashed("here", NUMBERS, [column("id")], ["BIGINT"], 2)
    book.finished(0, StageStatistics((1, 1), (100 * MIB, 100 * MIB)))
    assert book.settled(read) is read


def test_a_given_table_is_a_stage_whose_size_is_known(book: StageBook) -> None:
    table = GivenTable((Field("n", "BIGINT"),), pa.table({"n": [1, 2, 3]}))
    read = book.given(table)
    assert book.given(table).partitioning == read.partitioning == Single()
    assert isinstance(read.node, StageRead)
    assert read.node.exact_size is not None
    assert read.node.exact_size.rows == 3
    assert len(book.take_new()) == 1


def test_all_that_can_be_planned_is_before_anybody_waits() -> None:
    planned = []

    def waits() -> Pipeline:
        raise Pending

    def goes_on() -> Pipeline:
        planned.append("b")
        return Pipeline(NUMBERS, Spread())

    with pytest.raises(Pending):
        all_of(waits, goes_on)
    assert planned == ["b"]


def test_a_stage_is_called_by_the_verb_that_shapes_it() -> None:
    filtered = Filter(NUMBERS, parse("id > 3"))
    assert label(with_column(filtered, "#h", parse("id"))) == "Filter id > 3"
    assert len(label(Filter(NUMBERS, parse(" AND ".join(["id > 3"] * 30))))) == 60


def test_a_stage_names_the_functions_that_run_in_it() -> None:
    mapped = MapBatches(NUMBERS, b"", b"", NUMBERS.fields, "run.<locals>.draws")
    assert label(mapped) == "MapBatches run.<locals>.draws [id]"
    assert label(Filter(mapped, parse("id > 3"))) == "draws, Filter id > 3"


def test_a_rehearsal_prints_all_stages_and_runs_none() -> None:
    keys = (Named("k", parse("id % 10")),)
    plan = Aggregate(NUMBERS, keys, (Named("n", parse("count(*)")),))
    config = Config(planner_force_exchanges=True, planner_partitions=3)
    text = rehearse(plan, Shape(2, config))
    assert text.splitlines()[0] == 'stage 0  2 tasks  hash("#k0") × 3'
    assert "PartialAggregate" in text
    assert "stage 1  3 tasks  result" in text
