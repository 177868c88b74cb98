"""Eight TPC-H queries in the dataframe API.

    python examples/tpch.py DATA [--query N]
    flowgrid submit --master 'local-cluster[2,1,2048]' examples/tpch.py DATA

DATA holds one Parquet file per table, as `tpchgen-cli parquet -s 1 --output-dir DATA` makes them. Each
query is a function from the tables to a DataFrame: nothing is read before somebody asks for rows.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import flowgrid as fg
from flowgrid import Column, DataFrame, Session, col, lit

Tables = Mapping[str, DataFrame]

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")


def open_tables(session: Session, data: Path) -> Tables:
    return {name: session.read_parquet(str(data / f"{name}.parquet")) for name in TABLES}


def discounted_price() -> Column:
    return col("l_extendedprice") * (1 - col("l_discount"))


def q1(tables: Tables) -> DataFrame:
    """Pricing summary: what was billed, shipped and returned."""
    return (
        tables["lineitem"]
        .filter(col("l_shipdate") <= lit(date(1998, 9, 2)))
        .group_by("l_returnflag", "l_linestatus")
        .agg(
            fg.sum("l_quantity").alias("sum_qty"),
            fg.sum("l_extendedprice").alias("sum_base_price"),
            fg.sum(discounted_price()).alias("sum_disc_price"),
            fg.sum(discounted_price() * (1 + col("l_tax"))).alias("sum_charge"),
            fg.avg("l_quantity").alias("avg_qty"),
            fg.avg("l_extendedprice").alias("avg_price"),
            fg.avg("l_discount").alias("avg_disc"),
            fg.count().alias("count_order"),
        )
        .sort("l_returnflag", "l_linestatus")
    )


def q3(tables: Tables) -> DataFrame:
    """Shipping priority: the ten unshipped orders worth most."""
    customers = tables["customer"].filter(col("c_mktsegment") == "BUILDING")
    orders = tables["orders"].filter(col("o_orderdate") < lit(date(1995, 3, 15)))
    lineitem = tables["lineitem"].filter(col("l_shipdate") > lit(date(1995, 3, 15)))
    return (
        customers.join(orders, on=col("c_custkey") == col("o_custkey"))
        .join(lineitem, on=col("o_orderkey") == col("l_orderkey"))
        .group_by("l_orderkey", "o_orderdate", "o_shippriority")
        .agg(fg.sum(discounted_price()).alias("revenue"))
        .select("l_orderkey", "revenue", "o_orderdate", "o_shippriority")
        .sort("revenue", "o_orderdate", descending=[True, False])
        .limit(10)
    )


def q5(tables: Tables) -> DataFrame:
    """Local supplier volume: revenue in Asia between customers and suppliers of one nation."""
    orders = tables["orders"].filter(
        (col("o_orderdate") >= lit(date(1994, 1, 1))) & (col("o_orderdate") < lit(date(1995, 1, 1)))
    )
    asia = tables["region"].filter(col("r_name") == "ASIA")
    suppliers = (
        tables["supplier"]
        .join(tables["nation"], on=col("s_nationkey") == col("n_nationkey"))
        .join(asia, on=col("n_regionkey") == col("r_regionkey"))
    )
    return (
        tables["customer"]
        .join(orders, on=col("c_custkey") == col("o_custkey"))
        .join(tables["lineitem"], on=col("o_orderkey") == col("l_orderkey"))
        .join(
            suppliers,
            on=(col("l_suppkey") == col("s_suppkey")) & (col("c_nationkey") == col("s_nationkey")),
        )
        .group_by("n_name")
        .agg(fg.sum(discounted_price()).alias("revenue"))
        .sort("revenue", descending=True)
    )


def q6(tables: Tables) -> DataFrame:
    """Forecasting revenue change: what small discounts cost in 1994. Filters may be SQL text."""
    return (
        tables["lineitem"]
        .filter("l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'")
        .filter("l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24")
        .agg(fg.sum(col("l_extendedprice") * col("l_discount")).alias("revenue"))
    )


def q9(tables: Tables) -> DataFrame:
    """Product type profit: what green parts earned, by nation and year."""
    green = tables["part"].filter(col("p_name").str.contains("green"))
    profit = (discounted_price() - col("ps_supplycost") * col("l_quantity")).alias("amount")
    return (
        tables["lineitem"]
        .join(green, on=col("l_partkey") == col("p_partkey"))
        .join(
            tables["partsupp"],
            on=(col("l_suppkey") == col("ps_suppkey")) & (col("l_partkey") == col("ps_partkey")),
        )
        .join(tables["supplier"], on=col("l_suppkey") == col("s_suppkey"))
        .join(tables["nation"], on=col("s_nationkey") == col("n_nationkey"))
        .join(tables["orders"], on=col("l_orderkey") == col("o_orderkey"))
        .select(col("n_name").alias("nation"), col("o_orderdate").dt.year().alias("o_year"), profit)
        .group_by("nation", "o_year")
        .agg(fg.sum("amount").alias("sum_profit"))
        .sort("nation", "o_year", descending=[False, True])
    )


def q12(tables: Tables) -> DataFrame:
    """Shipping modes and order priority: does cheap shipping make urgent orders late?"""
    late = tables["lineitem"].filter(
        col("l_shipmode").is_in(["MAIL", "SHIP"])
        & (col("l_commitdate") < col("l_receiptdate"))
        & (col("l_shipdate") < col("l_commitdate"))
        & (col("l_receiptdate") >= lit(date(1994, 1, 1)))
        & (col("l_receiptdate") < lit(date(1995, 1, 1)))
    )
    urgent = col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    return (
        tables["orders"]
        .join(late, on=col("o_orderkey") == col("l_orderkey"))
        .group_by("l_shipmode")
        .agg(
            fg.sum(fg.when(urgent).then(1).otherwise(0)).alias("high_line_count"),
            fg.sum(fg.when(~urgent).then(1).otherwise(0)).alias("low_line_count"),
        )
        .sort("l_shipmode")
    )


def q13(tables: Tables) -> DataFrame:
    """Customer distribution: how many customers have how many orders, none included."""
    orders = tables["orders"].filter("o_comment NOT LIKE '%special%requests%'")
    return (
        tables["customer"]
        .join(orders, on=col("c_custkey") == col("o_custkey"), how="left")
        .group_by("c_custkey")
        .agg(fg.count("o_orderkey").alias("c_count"))
        .group_by("c_count")
        .agg(fg.count().alias("custdist"))
        .sort("custdist", "c_count", descending=True)
    )


def q18(tables: Tables) -> DataFrame:
    """Large volume customers: the hundred dearest orders of more than 300 pieces."""
    large = (
        tables["lineitem"]
        .group_by("l_orderkey")
        .agg(fg.sum("l_quantity").alias("pieces"))
        .filter(col("pieces") > 300)
        .select(col("l_orderkey").alias("large_orderkey"))
    )
    return (
        tables["orders"]
        .join(large, on=col("o_orderkey") == col("large_orderkey"), how="semi")
        .join(tables["customer"], on=col("o_custkey") == col("c_custkey"))
        .join(tables["lineitem"], on=col("o_orderkey") == col("l_orderkey"))
        .group_by("c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice")
        .agg(fg.sum("l_quantity").alias("quantity"))
        .sort("o_totalprice", "o_orderdate", descending=[True, False])
        .limit(100)
    )


QUERIES: Mapping[int, Callable[[Tables], DataFrame]] = {
    1: q1,
    3: q3,
    5: q5,
    6: q6,
    9: q9,
    12: q12,
    13: q13,
    18: q18,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Eight TPC-H queries in the dataframe API.")
    parser.add_argument("data", type=Path, metavar="DATA", help="a directory of Parquet files")
    parser.add_argument("--query", type=int, choices=QUERIES, help="this one only")
    arguments = parser.parse_args()
    numbers = [arguments.query] if arguments.query else list(QUERIES)
    with fg.connect() as session:
        tables = open_tables(session, arguments.data)
        for number in numbers:
            query = QUERIES[number]
            print(f"\nquery {number}: {query.__doc__}")
            query(tables).show()


if __name__ == "__main__":
    main()
