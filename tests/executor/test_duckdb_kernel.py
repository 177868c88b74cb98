from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
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
    assert value(kernel, "SELECT current_setting('memory_limit')") == "256.0 MiB"
    kernel.end()
    kernel.begin(2, 512 * MIB, str(tmp_path / "it's other"), seed=7)
    assert value(kernel, "SELECT current_setting('memory_limit')") == "512.0 MiB"
    assert value(kernel, "SELECT current_setting('threads')") == 2
    assert value(kernel, "SELECT current_setting('temp_directory')") == str(tmp_path / "it's other")
    assert value(kernel, "SELECT current_setting('TimeZone')") == "UTC"


def test_joins_as_written_fold_no_rows_below_them(kernel: DuckDbKernel, tmp_path: Path) -> None:
    lines, orders = str(tmp_path / "lines.parquet"), str(tmp_path / "orders.parquet")
    cursor = kernel.cursor()
    of_lines = "SELECT i // 4 AS line, i AS amount FROM range(1000000) r(i)"
    of_orders = "SELECT i AS number, i % 1000 AS buyer FROM range(250000) r(i)"
    cursor.execute(f"COPY ({of_lines}) TO '{lines}'; COPY ({of_orders}) TO '{orders}'")
    kernel.end()
    kernel.begin(1, 256 * MIB, str(tmp_path), seed=7, joins_as_written=True)
    cursor = kernel.cursor()
    cursor.register("buyers", pa.table({"id": range(300)}).to_reader())

    few = f"SELECT number, buyer FROM '{orders}' JOIN buyers ON buyer = id"
    joined = f"'{lines}' JOIN ({few}) ON line = number"
    query = f"SELECT line, buyer, sum(amount) FROM {joined} GROUP BY line, buyer"
    ((_, plan),) = cursor.sql(f"EXPLAIN {query}").fetchall()

    assert plan.count("Hash Group By") == 1, "of three rows in ten, not of all"


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


def test_no_room_to_spill_names_the_place_and_more_memory_would_do() -> None:
    words = (
        "Out of Memory Error: failed to offload data block of size 256.0 KiB (19.0 MiB/19.0 MiB used)."
        "\nThis limit was set by the 'max_temp_directory_size' setting."
    )
    failure = kernel_failure(words, "/disk/spill-0")
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert "no room to spill to /disk/spill-0" in failure.message


def test_the_next_attempt_has_other_memory_even_after_one_that_spilled(tmp_path: Path) -> None:
    kernel = DuckDbKernel()
    kernel.begin(1, 40 * MIB, str(tmp_path), seed=7)
    spills = "SELECT md5(range::VARCHAR) AS v FROM range(1500000) ORDER BY v"
    assert sum(batch.num_rows for batch in kernel.stream(kernel.cursor().sql(spills), 2048))
    kernel.end()
    kernel.begin(1, 256 * MIB, str(tmp_path), seed=7)
    assert value(kernel, "SELECT current_setting('memory_limit')") == "256.0 MiB"
    kernel.end()
    kernel.close()
