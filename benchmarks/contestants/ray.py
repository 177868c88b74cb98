"""Ray Data on a local cluster of as many processors as threads. It has no SQL.

The questions that it is asked are written here by hand, in its own API: filters and arithmetic as
functions over Arrow batches, then its joins, groupings and sorts. Decimals become floats: its sums are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.data.aggregate import Count, Mean, Sum

from benchmarks.contestants.setup import Ask, NotExpressed, Question, Setup

Function = Callable[[pa.Table], pa.Table]

_OBJECT_STORE = 0.4
"""The share of a memory limit that shared memory may have; the rest is for the processes."""


class Tables:
    """The tables of a setup, opened anew for each question with the columns that it needs."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.partitions = 4 * setup.threads

    def read(self, table: str, columns: str, function: Function | None = None) -> Any:
        paths = self._setup.parquet_paths(table)
        dataset = ray.data.read_parquet(paths, columns=columns.split()).map_batches(
            _plain, batch_format="pyarrow", batch_size=None
        )
        return dataset if function is None else mapped(dataset, function)

    def joined(self, left: Any, right: Any, on: str, right_on: str, how: str = "inner") -> Any:
        keys, right_keys = tuple(on.split()), tuple(right_on.split())
        return left.join(right, how, self.partitions, on=keys, right_on=right_keys)


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    store = int(setup.memory_bytes * _OBJECT_STORE) or None
    ray.init(
        num_cpus=setup.threads,
        object_store_memory=store,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=setup.scratch,
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    tables = Tables(setup)

    def ask(question: Question) -> pa.Table:
        if question.program not in PROGRAMS:
            raise NotExpressed("not written for Ray")
        answer = PROGRAMS[question.program](tables)
        if isinstance(answer, pa.Table):
            return answer
        return pa.concat_tables(ray.get(answer.to_arrow_refs()), promote_options="permissive")

    try:
        yield ask
    finally:
        ray.shutdown()


def mapped(dataset: Any, function: Function) -> Any:
    return dataset.map_batches(function, batch_format="pyarrow", batch_size=None)


def _plain(rows: pa.Table) -> pa.Table:
    """Decimals as floats, and texts that are no views: not every kernel of Arrow takes these."""
    types = []
    for field in rows.schema:
        if pa.types.is_decimal(field.type):
            types.append(pa.field(field.name, pa.float64()))
        elif pa.types.is_string_view(field.type):
            types.append(pa.field(field.name, pa.string()))
        else:
            types.append(pa.field(field.name, field.type))
    return rows.cast(pa.schema(types))


def _revenue(rows: pa.Table) -> pa.Array:
    return pc.multiply(rows["l_extendedprice"], pc.subtract(1.0, rows["l_discount"]))


def _all(*conditions: Any) -> Any:
    first, *rest = conditions
    for condition in rest:
        first = pc.and_(first, condition)
    return first


def _within(values: Any, first: date, end: date) -> Any:
    return pc.and_(pc.greater_equal(values, first), pc.less(values, end))


def _tpch_1(t: Tables) -> Any:
    def priced(rows: pa.Table) -> pa.Table:
        rows = rows.filter(pc.less_equal(rows["l_shipdate"], date(1998, 9, 2)))
        price = _revenue(rows)
        charge = pc.multiply(price, pc.add(1.0, rows["l_tax"]))
        return rows.append_column("disc_price", price).append_column("charge", charge)

    columns = "l_returnflag l_linestatus l_quantity l_extendedprice l_discount l_tax l_shipdate"
    return (
        t.read("lineitem", columns, priced)
        .groupby(["l_returnflag", "l_linestatus"])
        .aggregate(
            Sum("l_quantity", alias_name="sum_qty"),
            Sum("l_extendedprice", alias_name="sum_base_price"),
            Sum("disc_price", alias_name="sum_disc_price"),
            Sum("charge", alias_name="sum_charge"),
            Mean("l_quantity", alias_name="avg_qty"),
            Mean("l_extendedprice", alias_name="avg_price"),
            Mean("l_discount", alias_name="avg_disc"),
            Count(alias_name="count_order"),
        )
        .sort(["l_returnflag", "l_linestatus"])
    )


def _tpch_3(t: Tables) -> Any:
    day = date(1995, 3, 15)

    def of_builders(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.equal(rows["c_mktsegment"], "BUILDING")).select(["c_custkey"])

    def before(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.less(rows["o_orderdate"], day))

    def after(rows: pa.Table) -> pa.Table:
        rows = rows.filter(pc.greater(rows["l_shipdate"], day))
        return pa.table({"l_orderkey": rows["l_orderkey"], "revenue": _revenue(rows)})

    customers = t.read("customer", "c_custkey c_mktsegment", of_builders)
    orders = t.read("orders", "o_orderkey o_custkey o_orderdate o_shippriority", before)
    lines = t.read("lineitem", "l_orderkey l_extendedprice l_discount l_shipdate", after)
    orders = t.joined(orders, customers, "o_custkey", "c_custkey")
    return (
        t.joined(lines, orders, "l_orderkey", "o_orderkey")
        .groupby(["l_orderkey", "o_orderdate", "o_shippriority"])
        .aggregate(Sum("revenue", alias_name="revenue"))
        .sort(["revenue", "o_orderdate"], descending=[True, False])
        .limit(10)
        .select_columns(["l_orderkey", "revenue", "o_orderdate", "o_shippriority"])
    )


def _tpch_5(t: Tables) -> Any:
    def of_a_year(rows: pa.Table) -> pa.Table:
        inside = _within(rows["o_orderdate"], date(1994, 1, 1), date(1995, 1, 1))
        return rows.filter(inside).select(["o_orderkey", "o_custkey"])

    def asian(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.equal(rows["r_name"], "ASIA")).select(["r_regionkey"])

    def priced(rows: pa.Table) -> pa.Table:
        return rows.select(["l_orderkey", "l_suppkey"]).append_column("revenue", _revenue(rows))

    regions = t.read("region", "r_regionkey r_name", asian)
    nations = t.read("nation", "n_nationkey n_regionkey n_name")
    nations = t.joined(nations, regions, "n_regionkey", "r_regionkey")
    suppliers = t.read("supplier", "s_suppkey s_nationkey")
    suppliers = t.joined(suppliers, nations, "s_nationkey", "n_nationkey")
    orders = t.read("orders", "o_orderkey o_custkey o_orderdate", of_a_year)
    customers = t.read("customer", "c_custkey c_nationkey")
    orders = t.joined(orders, customers, "o_custkey", "c_custkey")
    lines = t.read("lineitem", "l_orderkey l_suppkey l_extendedprice l_discount", priced)
    lines = t.joined(lines, orders, "l_orderkey", "o_orderkey")
    return (
        t.joined(lines, suppliers, "l_suppkey c_nationkey", "s_suppkey s_nationkey")
        .groupby("n_name")
        .aggregate(Sum("revenue", alias_name="revenue"))
        .sort("revenue", descending=True)
    )


def _tpch_6(t: Tables) -> Any:
    def discounts(rows: pa.Table) -> pa.Table:
        wanted = _all(
            _within(rows["l_shipdate"], date(1994, 1, 1), date(1995, 1, 1)),
            pc.greater(rows["l_discount"], 0.0499),
            pc.less(rows["l_discount"], 0.0701),
            pc.less(rows["l_quantity"], 24),
        )
        rows = rows.filter(wanted)
        return pa.table({"revenue": pc.multiply(rows["l_extendedprice"], rows["l_discount"])})

    columns = "l_extendedprice l_discount l_quantity l_shipdate"
    return pa.table({"revenue": [t.read("lineitem", columns, discounts).sum("revenue")]})


def _tpch_12(t: Tables) -> Any:
    def late(rows: pa.Table) -> pa.Table:
        wanted = _all(
            pc.is_in(rows["l_shipmode"], pa.array(["MAIL", "SHIP"])),
            pc.less(rows["l_commitdate"], rows["l_receiptdate"]),
            pc.less(rows["l_shipdate"], rows["l_commitdate"]),
            _within(rows["l_receiptdate"], date(1994, 1, 1), date(1995, 1, 1)),
        )
        return rows.filter(wanted).select(["l_orderkey", "l_shipmode"])

    def counted(rows: pa.Table) -> pa.Table:
        urgent = pc.is_in(rows["o_orderpriority"], pa.array(["1-URGENT", "2-HIGH"]))
        high, low = urgent.cast(pa.int64()), pc.invert(urgent).cast(pa.int64())
        return pa.table({"l_shipmode": rows["l_shipmode"], "high": high, "low": low})

    columns = "l_orderkey l_shipmode l_shipdate l_commitdate l_receiptdate"
    lines = t.read("lineitem", columns, late)
    orders = t.read("orders", "o_orderkey o_orderpriority")
    return (
        mapped(t.joined(lines, orders, "l_orderkey", "o_orderkey"), counted)
        .groupby("l_shipmode")
        .aggregate(
            Sum("high", alias_name="high_line_count"), Sum("low", alias_name="low_line_count")
        )
        .sort("l_shipmode")
    )


def _tpch_13(t: Tables) -> Any:
    def ordinary(rows: pa.Table) -> pa.Table:
        special = pc.match_like(rows["o_comment"], "%special%requests%")
        return rows.filter(pc.invert(special)).select(["o_orderkey", "o_custkey"])

    customers = t.read("customer", "c_custkey")
    orders = t.read("orders", "o_orderkey o_custkey o_comment", ordinary)
    return (
        t.joined(customers, orders, "c_custkey", "o_custkey", "left_outer")
        .groupby("c_custkey")
        .aggregate(Count("o_orderkey", ignore_nulls=True, alias_name="c_count"))
        .groupby("c_count")
        .aggregate(Count(alias_name="custdist"))
        .sort(["custdist", "c_count"], descending=True)
    )


PROGRAMS: Mapping[str, Callable[[Tables], Any]] = {
    "tpch/1": _tpch_1,
    "tpch/3": _tpch_3,
    "tpch/5": _tpch_5,
    "tpch/6": _tpch_6,
    "tpch/12": _tpch_12,
    "tpch/13": _tpch_13,
}
