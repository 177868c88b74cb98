"""Arrow types at the kernel's two edges: what block files hold, and what people and files want to see.

The kernel exports every type without loss, some as Arrow extension types. Blocks keep these. They hold
neither dictionaries (a dictionary would have to travel beside the batch) nor views (slices of views drag
their whole buffers along). User code, sinks and results get plain Arrow types instead.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The schema under which batches of `schema` are kept in blocks."""
    return _map_fields(schema, _stored_type)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of `to_plain(batch)` for batches of `schema`."""
    return _map_fields(schema, _plain_type)


def to_stored(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """`batch` with the types of `schema`, each its own or the one in `stored_schema(batch.schema)`."""
    if batch.schema.equals(schema) or not batch.num_columns:
        return batch
    return _rebuild(batch, schema)


def to_plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` without the kernel's own types: booleans as bits, HUGEINT as decimal128(38, 0), …"""
    schema = plain_schema(batch.schema)
    return batch if schema.equals(batch.schema) else _rebuild(batch, schema)


def _map_fields(schema: pa.Schema, change: Callable[[pa.DataType], pa.DataType]) -> pa.Schema:
    return pa.schema([field.with_type(change(field.type)) for field in schema])


def _rebuild(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        _convert(column, field.type) for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _convert(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type.equals(wanted):
        return array
    if _is_hugeint(array.type):
        # Both are 128-bit integers, lowest byte first: the same buffers under another name.
        storage = array.storage
        return pa.Array.from_buffers(
            wanted, len(storage), storage.buffers(), storage.null_count, storage.offset
        )
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(wanted, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(wanted, _convert(array, wanted.storage_type))
    if pa.types.is_struct(wanted):
        children = [
            _convert(array.field(i), wanted.field(i).type) for i in range(wanted.num_fields)
        ]
        return pa.StructArray.from_arrays(children, fields=list(wanted), mask=array.is_null())
    if pa.types.is_nested(wanted):
        # Lists and maps keep their offsets; only what they hold changes.
        values = _convert(array.values, wanted.field(0).type)
        buffers = array.buffers()[: wanted.num_buffers]
        return pa.Array.from_buffers(
            wanted, len(array), buffers, array.null_count, array.offset, children=[values]
        )
    return array.cast(wanted)


def _is_hugeint(type_: pa.DataType) -> bool:
    return isinstance(type_, pa.OpaqueType) and type_.type_name in ("hugeint", "uhugeint")


def _stored_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(type_):
        return _stored_type(type_.value_type)
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_binary_view(type_):
        return pa.large_binary()
    if isinstance(type_, pa.OpaqueType) and pa.types.is_binary_view(type_.storage_type):
        return pa.opaque(pa.large_binary(), type_.type_name, type_.vendor_name)
    return _map_children(type_, _stored_type)


def _plain_type(type_: pa.DataType) -> pa.DataType:
    if _is_hugeint(type_):
        return pa.decimal128(38, 0)
    if isinstance(type_, pa.Bool8Type):
        return pa.bool_()
    if isinstance(type_, pa.OpaqueType | pa.JsonType):
        return _plain_type(type_.storage_type)
    if pa.types.is_decimal32(type_) or pa.types.is_decimal64(type_):
        return pa.decimal128(type_.precision, type_.scale)
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_binary_view(type_) or pa.types.is_large_binary(type_):
        return pa.binary()
    return _map_children(type_, _plain_type)


def _map_children(type_: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """`type_` with every nested type changed; itself when nothing is nested."""

    def child(field: pa.Field) -> pa.Field:
        return field.with_type(change(field.type))

    if pa.types.is_map(type_):
        return pa.map_(child(type_.key_field), child(type_.item_field), type_.keys_sorted)
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(child(type_.value_field), type_.list_size)
    if pa.types.is_large_list(type_):
        return pa.large_list(child(type_.value_field))
    if pa.types.is_list(type_):
        return pa.list_(child(type_.value_field))
    if pa.types.is_struct(type_):
        return pa.struct([child(type_.field(i)) for i in range(type_.num_fields)])
    return type_
