"""Dask dataframes on a local cluster, one single-threaded process per core. It has no SQL.

The questions that it is asked are written here by hand, in its own API. Decimals become floats: Dask
computes with pandas, where a decimal is an object per value.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

import dask
import dask.dataframe as dd
import pyarrow as pa
from distributed import Client, LocalCluster

from benchmarks.contestants.setup import Ask, NotExpressed, Question, Setup

Tables = Mapping[str, Any]


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    each: dict[str, Any] = {"memory_limit": setup.memory_bytes // setup.threads or "auto"}
    dask.config.set({"temporary_directory": setup.scratch})
    with (
        LocalCluster(
            n_workers=setup.threads, threads_per_worker=1, dashboard_address=None, **each
        ) as cluster,
        Client(cluster),
    ):
        tables = {table: _opened(setup.parquet_paths(table)) for table in setup.tables}

        def ask(question: Question) -> pa.Table:
            if question.program not in PROGRAMS:
                raise NotExpressed("not written for Dask")
            frame = PROGRAMS[question.program](tables).compute()
            return pa.Table.from_pandas(frame, preserve_index=False)

        yield ask


def _opened(paths: list[str]) -> Any:
    frame = dd.read_parquet(paths)
    decimals = [name for name, type_ in frame.dtypes.items() if "decimal" in str(type_)]
    return frame.astype(dict.fromkeys(decimals, "float64"))


def _discounted(lineitem: Any) -> Any:
    return lineitem.l_extendedprice * (1 - lineitem.l_discount)


def _tpch_1(t: Tables) -> Any:
    rows = t["lineitem"]
    rows = rows[rows.l_shipdate <= date(1998, 9, 2)]
    price = _discounted(rows)
    rows = rows.assign(disc_price=price, charge=price * (1 + rows.l_tax))
    return (
        rows.groupby(["l_returnflag", "l_linestatus"])
        .agg(
            sum_qty=("l_quantity", "sum"),
            sum_base_price=("l_extendedprice", "sum"),
            sum_disc_price=("disc_price", "sum"),
            sum_charge=("charge", "sum"),
            avg_qty=("l_quantity", "mean"),
            avg_price=("l_extendedprice", "mean"),
            avg_disc=("l_discount", "mean"),
            count_order=("l_quantity", "count"),
        )
        .reset_index()
        .sort_values(["l_returnflag", "l_linestatus"])
    )


def _tpch_3(t: Tables) -> Any:
    day = date(1995, 3, 15)
    customers = t["customer"][t["customer"].c_mktsegment == "BUILDING"][["c_custkey"]]
    orders = t["orders"][t["orders"].o_orderdate < day]
    rows = t["lineitem"][t["lineitem"].l_shipdate > day]
    rows = rows.assign(revenue=_discounted(rows))[["l_orderkey", "revenue"]]
    orders = orders[["o_orderkey", "o_custkey", "o_orderdate", "o_shippriority"]]
    joined = customers.merge(orders, left_on="c_custkey", right_on="o_custkey")
    keys = ["l_orderkey", "o_orderdate", "o_shippriority"]
    sums = (
        joined.merge(rows, left_on="o_orderkey", right_on="l_orderkey")
        .groupby(keys)
        .agg(revenue=("revenue", "sum"))
        .reset_index()
    )
    shown = ["l_orderkey", "revenue", "o_orderdate", "o_shippriority"]
    return sums.sort_values(["revenue", "o_orderdate"], ascending=[False, True])[shown].head(
        10, compute=False, npartitions=-1
    )


def _tpch_5(t: Tables) -> Any:
    orders = t["orders"]
    orders = orders[
        (orders.o_orderdate >= date(1994, 1, 1)) & (orders.o_orderdate < date(1995, 1, 1))
    ]
    asia = t["region"][t["region"].r_name == "ASIA"]
    nations = t["nation"].merge(asia, left_on="n_regionkey", right_on="r_regionkey")
    suppliers = t["supplier"].merge(nations, left_on="s_nationkey", right_on="n_nationkey")
    suppliers = suppliers[["s_suppkey", "s_nationkey", "n_name"]]
    rows = t["lineitem"].assign(revenue=_discounted(t["lineitem"]))
    rows = rows[["l_orderkey", "l_suppkey", "revenue"]]
    customers = t["customer"][["c_custkey", "c_nationkey"]]
    return (
        customers.merge(
            orders[["o_orderkey", "o_custkey"]], left_on="c_custkey", right_on="o_custkey"
        )
        .merge(rows, left_on="o_orderkey", right_on="l_orderkey")
        .merge(
            suppliers, left_on=["l_suppkey", "c_nationkey"], right_on=["s_suppkey", "s_nationkey"]
        )
        .groupby("n_name")
        .agg(revenue=("revenue", "sum"))
        .reset_index()
        .sort_values("revenue", ascending=False)
    )


def _tpch_6(t: Tables) -> Any:
    rows = t["lineitem"]
    rows = rows[
        (rows.l_shipdate >= date(1994, 1, 1))
        & (rows.l_shipdate < date(1995, 1, 1))
        & rows.l_discount.between(0.0499, 0.0701)
        & (rows.l_quantity < 24)
    ]
    return (rows.l_extendedprice * rows.l_discount).sum().to_series().to_frame("revenue")


def _tpch_9(t: Tables) -> Any:
    green = t["part"][t["part"].p_name.str.contains("green")][["p_partkey"]]
    rows = t["lineitem"].assign(price=_discounted(t["lineitem"]))
    rows = rows[["l_partkey", "l_suppkey", "l_orderkey", "l_quantity", "price"]]
    supplied = t["partsupp"][["ps_partkey", "ps_suppkey", "ps_supplycost"]]
    joined = (
        rows.merge(green, left_on="l_partkey", right_on="p_partkey")
        .merge(supplied, left_on=["l_suppkey", "l_partkey"], right_on=["ps_suppkey", "ps_partkey"])
        .merge(
            t["supplier"][["s_suppkey", "s_nationkey"]], left_on="l_suppkey", right_on="s_suppkey"
        )
        .merge(
            t["nation"][["n_nationkey", "n_name"]], left_on="s_nationkey", right_on="n_nationkey"
        )
        .merge(
            t["orders"][["o_orderkey", "o_orderdate"]], left_on="l_orderkey", right_on="o_orderkey"
        )
    )
    joined = joined.assign(
        nation=joined.n_name,
        o_year=joined.o_orderdate.dt.year,
        amount=joined.price - joined.ps_supplycost * joined.l_quantity,
    )
    return (
        joined.groupby(["nation", "o_year"])
        .agg(sum_profit=("amount", "sum"))
        .reset_index()
        .sort_values(["nation", "o_year"], ascending=[True, False])
    )


def _tpch_12(t: Tables) -> Any:
    rows = t["lineitem"]
    rows = rows[
        rows.l_shipmode.isin(["MAIL", "SHIP"])
        & (rows.l_commitdate < rows.l_receiptdate)
        & (rows.l_shipdate < rows.l_commitdate)
        & (rows.l_receiptdate >= date(1994, 1, 1))
        & (rows.l_receiptdate < date(1995, 1, 1))
    ][["l_orderkey", "l_shipmode"]]
    orders = t["orders"][["o_orderkey", "o_orderpriority"]]
    joined = orders.merge(rows, left_on="o_orderkey", right_on="l_orderkey")
    urgent = joined.o_orderpriority.isin(["1-URGENT", "2-HIGH"]).astype("int64")
    joined = joined.assign(high=urgent, low=1 - urgent)
    return (
        joined.groupby("l_shipmode")
        .agg(high_line_count=("high", "sum"), low_line_count=("low", "sum"))
        .reset_index()
        .sort_values("l_shipmode")
    )


def _tpch_13(t: Tables) -> Any:
    orders = t["orders"]
    orders = orders[~orders.o_comment.str.contains("special.*requests")][
        ["o_orderkey", "o_custkey"]
    ]
    customers = t["customer"][["c_custkey"]]
    counts = (
        customers.merge(orders, how="left", left_on="c_custkey", right_on="o_custkey")
        .groupby("c_custkey")
        .agg(c_count=("o_orderkey", "count"))
    )
    return (
        counts.groupby("c_count")
        .size()
        .to_frame("custdist")
        .reset_index()
        .sort_values(["custdist", "c_count"], ascending=False)
    )


def _tpch_18(t: Tables) -> Any:
    pieces = t["lineitem"].groupby("l_orderkey").agg(quantity=("l_quantity", "sum")).reset_index()
    customers = t["customer"][["c_custkey", "c_name"]]
    orders = t["orders"][["o_orderkey", "o_custkey", "o_orderdate", "o_totalprice"]]
    shown = ["c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "quantity"]
    return (
        orders.merge(pieces[pieces.quantity > 300], left_on="o_orderkey", right_on="l_orderkey")
        .merge(customers, left_on="o_custkey", right_on="c_custkey")
        .sort_values(["o_totalprice", "o_orderdate"], ascending=[False, True])[shown]
        .head(100, compute=False, npartitions=-1)
    )


PROGRAMS: Mapping[str, Callable[[Tables], Any]] = {
    "tpch/1": _tpch_1,
    "tpch/3": _tpch_3,
    "tpch/5": _tpch_5,
    "tpch/6": _tpch_6,
    "tpch/9": _tpch_9,
    "tpch/12": _tpch_12,
    "tpch/13": _tpch_13,
    "tpch/18": _tpch_18,
}
