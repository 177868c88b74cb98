"""Arrow's and Python's types in the kernel's words."""

from __future__ import annotations

import datetime
import decimal

import duckdb
import pyarrow as pa
import pytest

from flowgrid.errors import PlanError
from flowgrid.expr.types import arrow_to_kernel, kernel_type

ARROW_TYPES = [
    pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(),
    pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(),
    pa.string_view(), pa.binary(), pa.large_binary(), pa.date32(), pa.time64("us"),
    pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"),
    pa.timestamp("us", "UTC"), pa.decimal128(15, 2), pa.list_(pa.int32()),
    pa.large_list(pa.list_(pa.string())),
]  # fmt: skip


@pytest.mark.parametrize("type_", ARROW_TYPES, ids=str)
def test_the_kernel_itself_gives_an_arrow_type_the_same_name(type_: pa.DataType) -> None:
    with duckdb.connect() as kernel:
        asked = str(kernel.from_arrow(pa.schema({"x": type_}).empty_table()).types[0])

    assert arrow_to_kernel(type_) == asked


def test_what_has_several_names_is_left_to_the_kernel() -> None:
    assert arrow_to_kernel(pa.struct({"a": pa.int32()})) is None
    assert arrow_to_kernel(pa.list_(pa.struct({"a": pa.int32()}))) is None


def test_types_may_be_sql_python_or_arrow() -> None:
    assert kernel_type("DECIMAL(15,2)") == "DECIMAL(15,2)"
    assert kernel_type(int) == "BIGINT"
    assert kernel_type(bool) == "BOOLEAN"
    assert kernel_type(datetime.datetime) == "TIMESTAMP"
    assert kernel_type(decimal.Decimal) == "DECIMAL(38,9)"
    assert kernel_type(pa.float32()) == "FLOAT"
    with pytest.raises(PlanError, match="names no type"):
        kernel_type(object)
