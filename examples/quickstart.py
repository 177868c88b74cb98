"""Makes data, asks a question of it on a small cluster of this machine, and shows what ran.

    python examples/quickstart.py

Three real processes come up and go away again: a scheduler and two executors with a slot each.
"""

from __future__ import annotations

import flowgrid as fg
from benchmarks import datasets
from flowgrid import col

SCALE = 0.1
"""600,000 line items; 1 is six million."""


def main() -> None:
    data = datasets.tpch(SCALE)
    with fg.connect("local-cluster[2,1,2048]") as session:
        orders = session.read_parquet(str(data / "orders.parquet"))
        customers = session.read_parquet(str(data / "customer.parquet"))
        lineitem = session.read_parquet(str(data / "lineitem.parquet"))

        price = col("l_extendedprice") * (1 - col("l_discount"))
        best = (
            lineitem.join(orders, on=col("l_orderkey") == col("o_orderkey"))
            .join(customers, on=col("o_custkey") == col("c_custkey"))
            .group_by("c_custkey", "c_name")
            .agg(fg.sum(price).alias("revenue"), fg.count().alias("items"))
            .sort("revenue", descending=True)
            .limit(10)
        )

        print("The ten customers who paid most:\n")
        best.show()
        print("\nThe stages that answered it:\n")
        print(best.explain("stages"))


if __name__ == "__main__":
    main()
