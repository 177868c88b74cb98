"""Kinds of columns: their type, and values that go wrong: NULL, NaN, odd text, what is equal and looks
different.

A kind is a letter, so that a scope says in a word what may be done with its columns.
"""

from __future__ import annotations

TYPES = {
    "i": "INTEGER",
    "t": "VARCHAR",
    "d": "DECIMAL(9,2)",
    "x": "DOUBLE",
    "b": "BIGINT",
    "n": "VARCHAR",
    "e": "DATE",
    "s": "TIMESTAMP",
    "o": "BOOLEAN",
    "l": "INTEGER[]",
    "r": "STRUCT(p INTEGER, q VARCHAR)",
    "h": "HUGEINT",
}
"""`n` is text that is a number; `h` is only computed: files have no such column."""

STORED = [kind for kind in TYPES if kind != "h"]

NUMBERS = "ibhdx"
"""Kinds that may be compared, joined and summed with each other."""

EXACT = "ibhd"

VALUES = {
    "i": ["1", "NULL", "2", "0", "1", "3", "-1", "7"],
    "t": ["'a'", "NULL", "''", "'b'", "'ab'", "' a'", "'A'", "'it''s'", "'ü'", "'%_'", "'NULL'",
          "'\"'", "'a' || chr(10) || 'b'", "'😀'", "'1'"],
    "d": ["1.00", "NULL", "2.00", "0.00", "1.50", "-0.25"],
    "x": ["1.0", "NULL", "2.0", "0.0", "-0.0", "0.5", "'nan'", "'inf'", "1e10"],
    "b": ["1", "NULL", "2", "0", "-1", "4294967296"],
    "n": ["'1'", "NULL", "'01'", "'2'", "'0'", "'-1'"],
    "e": ["'2020-01-01'", "NULL", "'2020-01-02'", "'1969-12-31'", "'2020-02-29'"],
    "s": ["'2020-01-01'", "NULL", "'2020-01-01 12:30:00.000001'", "'2020-01-02'", "'1900-01-01'"],
    "o": ["true", "NULL", "false"],
    "l": ["[1]", "NULL", "[]", "[1, NULL]", "[2, 1]", "[NULL]"],
    "r": ["{'p': 1, 'q': 'a'}", "NULL", "{'p': NULL, 'q': 'a'}", "{'p': 2, 'q': NULL}",
          "{'p': NULL, 'q': NULL}"],
    "h": ["1", "NULL", "2", "0"],
}  # fmt: skip
"""SQL for values of a kind, before the cast to its type; the simplest is first."""


def literal(kind: str, value: str) -> str:
    """A value as an expression of the kind's own type."""
    return value if kind in "it" and value != "NULL" else f"CAST({value} AS {TYPES[kind]})"


def comparable(left: str, right: str) -> bool:
    """Whether values of two kinds may stand on the two sides of `=`."""
    pairs = ({"e", "s"}, {"i", "n"})
    return left == right or (left in NUMBERS and right in NUMBERS) or {left, right} in pairs
