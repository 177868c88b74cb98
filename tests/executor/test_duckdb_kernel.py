from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flowgrid_executor.kernels.duckdb_kernel import (
    DuckDbKernel,
    kernel_batches,
    kernel_failure,
    quote_name,
    quote_text,
)
from flowgrid_executor.kernels.kernel import KernelError

from flowgrid.config import MIB
from flowgrid.protocol.failures import FailureKind


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[DuckDbKernel]:
    kernel = DuckDbKernel()
    kernel.begin(1, 256 * MIB, str(tmp_path), seed=7)
    yield kernel
    kernel.end()


def value(kernel: DuckDbKernel, sql: str) -> object:
    (row,) = kernel.cursor(sql).sql(sql).fetchall()
    return row[0]


def test_settings_are_those_of_the_attempt(kernel: DuckDbKernel, tmp_path: Path) -> None:
    assert value(kernel, "SELECT current_setting('memory_limit')") == "192.0 MiB"
    kernel.end()
    kernel.begin(2, 512 * MIB, str(tmp_path / "it's other"), seed=7)
    assert value(kernel, "SELECT current_setting('memory_limit')") == "384.0 MiB"
    assert value(kernel, "SELECT current_setting('threads')") == 2
    assert value(kernel, "SELECT current_setting('temp_directory')") == str(tmp_path / "it's other")
    assert value(kernel, "SELECT current_setting('TimeZone')") == "UTC"


@pytest.mark.parametrize(
    "draw",
    [
        "SELECT random()",
        "SELECT uuid()",
        "SELECT Gen_Random_UUID()",
        "SELECT list(i) FROM (FROM range(100) r(i) USING SAMPLE 10)",
    ],
)
def test_chance_begins_anew_on_each_cursor_and_depends_on_the_seed(
    kernel: DuckDbKernel, tmp_path: Path, draw: str
) -> None:
    first = value(kernel, draw)
    assert value(kernel, draw) == first
    kernel.end()
    kernel.begin(1, 256 * MIB, str(tmp_path), seed=8)
    assert value(kernel, draw) != first


def test_the_end_drops_views_and_open_results(kernel: DuckDbKernel, tmp_path: Path) -> None:
    cursor = kernel.cursor()
    cursor.execute("CREATE TEMP VIEW v AS SELECT 1").fetchall()
    reader = kernel.stream(kernel.cursor().sql("FROM range(1000000)"), 2048)
    reader.read_next_batch()
    kernel.end()
    kernel.begin(1, 256 * MIB, str(tmp_path), seed=7)
    with pytest.raises(Exception, match="v does not exist"):
        value(kernel, "FROM v")


def test_what_a_running_query_says_is_the_kernels_error(kernel: DuckDbKernel) -> None:
    query = "SELECT CASE WHEN range > 90000 THEN error('stop here') END FROM range(100000)"
    reader = kernel.stream(kernel.cursor().sql(query), 2048)
    with pytest.raises(KernelError, match="stop here"):
        list(kernel_batches(reader))


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Out of Memory Error: failed to allocate", FailureKind.OUT_OF_MEMORY),
        ("Conversion Error: Could not convert", FailureKind.QUERY_ERROR),
        ("Out of Range Error: Overflow", FailureKind.QUERY_ERROR),
        ("INTERNAL Error: Attempted to access", FailureKind.INTERNAL),
        ('IO Error: Could not write file "x": No space left on device', FailureKind.DISK_FULL),
        ('IO Error: Could not read file "x": Input/output error', FailureKind.DISK_BAD),
    ],
)
def test_the_kernels_words_are_typed_failures(message: str, kind: FailureKind) -> None:
    failure = kernel_failure(message)
    assert failure.kind is kind
    assert failure.message == message


def test_names_and_texts_are_quoted(kernel: DuckDbKernel) -> None:
    odd = "a\"b'c; --"
    assert value(kernel, f"SELECT {quote_name(odd)} FROM (SELECT 5 AS {quote_name(odd)})") == 5
    assert value(kernel, f"SELECT {quote_text(odd)}") == odd
