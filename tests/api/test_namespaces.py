"""Text, time, list and struct functions, compared with Python's own."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import flowgrid as fg
from flowgrid import col, lit
from flowgrid.api.session import Session

TEXT = "Grüße, Welt"
NOON = datetime.datetime(2024, 2, 29, 12, 34, 56, 789_000)

t, d, items, s = col("t").str, col("d").dt, col("l").list, col("s").struct


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (t.contains("r.ß"), True), (t.contains("r.ß", literal=True), False),
        (t.starts_with("Gr"), True), (t.ends_with("x"), False), (t.like("G%W_lt"), True),
        (t.to_uppercase(), "GRÜẞE, WELT"), (t.to_lowercase(), TEXT.lower()),
        (t.len_chars(), len(TEXT)), (t.len_bytes(), len(TEXT.encode())),
        (t.slice(2), TEXT[2:]), (t.slice(0, 3), TEXT[:3]), (t.slice(-4, 2), TEXT[-4:-2]),
        (t.head(3), TEXT[:3]), (t.tail(3), TEXT[-3:]),
        (t.replace("[a-z]", "."), "G.üße, Welt"), (t.replace_all("[a-z]", "."), "G.üß., W..."),
        (t.replace("e", "."), "Grüß., Welt"), (t.replace(".", "!", literal=True), TEXT),
        (t.replace("e, ", r"\1", literal=True), r"Grüß\1Welt"),
        (t.replace_all("e", ".", literal=True), "Grüß., W.lt"),
        (t.extract(r"(\w+)lt$", 1), "We"), (t.extract("(x+)", 1), None),
        (t.extract_all("[lt]"), ["l", "t"]), (t.count_matches("[lt]"), 2),
        (t.split(", "), ["Grüße", "Welt"]), (t.reverse(), TEXT[::-1]),
        (lit(" \ta\n").str.strip_chars(), "a"), (lit("xxaxx").str.strip_chars("x"), "a"),
        (lit("xxaxx").str.strip_chars_start("x"), "axx"), (lit("xxaxx").str.strip_chars_end("x"), "xxa"),
        (lit("7").str.pad_start(3, "0"), "007"), (lit("long").str.pad_start(3, "0"), "long"),
        (lit("7").str.pad_end(3, "."), "7.."),
        (lit("2024-02-29").str.to_date(), NOON.date()),
        (lit("29.02.2024").str.to_date("%d.%m.%Y"), NOON.date()),
        (lit("2024-02-29 12:34:56.789").str.to_datetime(), NOON),
        (lit("1234").str.to_datetime("%H%M").dt.minute(), 34),
    ],
)  # fmt: skip
def test_text(session: Session, column: fg.Column, expected: Any) -> None:
    assert value(session, column) == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (d.year(), 2024), (d.quarter(), 1), (d.month(), 2), (d.week(), NOON.isocalendar().week),
        (d.day(), 29), (d.weekday(), NOON.isoweekday()), (d.ordinal_day(), 60), (d.hour(), 12),
        (d.minute(), 34), (d.second(), 56), (d.date(), NOON.date()),
        (d.truncate("hour"), NOON.replace(minute=0, second=0, microsecond=0)),
        (d.month_start().cast(datetime.date), datetime.date(2024, 2, 1)),
        (d.month_end(), datetime.date(2024, 2, 29)), (d.strftime("%d/%m"), "29/02"),
        (d.epoch("s"), 1709210096), (d.epoch("ms"), 1709210096789), (d.epoch(), 1709210096789000),
        (d.epoch("d"), (NOON.date() - datetime.date(1970, 1, 1)).days),
    ],
)  # fmt: skip
def test_time(session: Session, column: fg.Column, expected: Any) -> None:
    assert value(session, column) == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (items.len(), 4), (items.get(0), 3), (items.get(-1), 2), (items.get(9), None),
        (items.first(), 3), (items.last(), 2), (items.slice(1, 2), [1, 2]), (items.slice(-2, 1), [2]),
        (items.slice(2), [2, 2]), (items.contains(1), True), (items.sort(), [1, 2, 2, 3]),
        (items.sort(descending=True), [3, 2, 2, 1]), (items.reverse(), [2, 2, 1, 3]),
        (items.unique().list.sort(), [1, 2, 3]), (items.n_unique(), 3), (items.sum(), 8),
        (items.min(), 1), (items.max(), 3), (items.mean(), 2.0), (items.join("-"), "3-1-2-2"),
        (s.field("a"), 1), (s.field("in").struct.field("b c"), "deep"), (s.field("a") + 1, 2),
    ],
)  # fmt: skip
def test_lists_and_structs(session: Session, column: fg.Column, expected: Any) -> None:
    assert value(session, column) == expected


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(fg.PlanError, match="no unit of time"):
        d.epoch("weeks")


def value(session: Session, column: fg.Column) -> Any:
    row = {"t": TEXT, "d": NOON, "l": [3, 1, 2, 2], "s": {"a": 1, "in": {"b c": "deep"}}}
    ((found,),) = (r.values() for r in session.from_pylist([row]).select(column).to_pylist())
    return found
