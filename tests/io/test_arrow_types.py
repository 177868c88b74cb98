from __future__ import annotations

import decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from flowgrid.io.arrow_types import plain_schema, stored_schema, to_plain, to_stored

VALUES = {
    "true": (pa.bool8(), pa.bool_(), True),
    "(2::HUGEINT ** 100)::HUGEINT": (None, pa.decimal128(38, 0), decimal.Decimal(2**100)),
    "-1::HUGEINT": (None, pa.decimal128(38, 0), decimal.Decimal(-1)),
    "1.5::DECIMAL(4,1)": (pa.decimal32(4, 1), pa.decimal128(4, 1), decimal.Decimal("1.5")),
    "'b'::ENUM('a', 'b')": (pa.string(), pa.string(), "b"),
    "'x'::BLOB": (pa.large_binary(), pa.binary(), b"x"),
    "'{}'::JSON": (pa.json_(), pa.string(), "{}"),
    "[true, NULL]": (pa.list_(pa.field("l", pa.bool8())), None, [True, None]),
    "['b'::ENUM('a', 'b'), NULL]": (pa.list_(pa.field("l", pa.string())), None, ["b", None]),
    "{'a': [1::HUGEINT]}": (None, None, {"a": [decimal.Decimal(1)]}),
    "MAP {'k': 'x'::BLOB}": (None, None, [("k", b"x")]),
    "['x'::BLOB, NULL]::BLOB[2]": (None, None, [b"x", None]),
    "42": (pa.int32(), pa.int32(), 42),
}


@pytest.mark.parametrize("expression", VALUES)
def test_the_kernels_types_are_stored_and_shown(expression: str) -> None:
    stored_type, plain_type, value = VALUES[expression]
    settings: dict[str, Any] = {"arrow_lossless_conversion": "true", "arrow_output_version": "1.5"}
    with duckdb.connect(config=settings) as kernel:
        query = f"SELECT * FROM (VALUES ({expression}), (NULL), ({expression})) t(v)"
        (batch,) = kernel.sql(query).to_arrow_table().to_batches()

    for part, values in ((batch, [value, None, value]), (batch.slice(1), [None, value])):
        stored = to_stored(part, stored_schema(part.schema))
        stored.validate(full=True)
        assert stored_type is None or stored.schema.field("v").type == stored_type
        again = pa.ipc.read_record_batch(stored.serialize(), stored.schema)
        plain = to_plain(again)
        plain.validate(full=True)
        assert plain.schema == plain_schema(stored.schema)
        assert plain_type is None or plain.schema.field("v").type == plain_type
        assert plain.column("v").to_pylist() == values


def test_what_is_plain_already_is_left_alone() -> None:
    batch = pa.record_batch({"a": [1], "b": ["x"]})
    assert to_stored(batch, stored_schema(batch.schema)) is batch
    assert to_plain(batch) is batch
