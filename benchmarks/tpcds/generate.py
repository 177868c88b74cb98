"""Run as a program by `benchmarks.datasets`, with a DuckDB that the TPC-DS extension was built for.

`python generate.py SCALE DIRECTORY` writes a Parquet file per table and the texts of the queries.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import duckdb


def main(scale: float, directory: Path) -> None:
    queries = directory / "queries"
    queries.mkdir(parents=True)
    # The extension package is signed by nobody: it is the extension, built again by its packagers.
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{_extension()}'")
        connection.execute(f"CALL dsdgen(sf = {scale})")
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            connection.execute(f"COPY {table} TO '{directory / table}.parquet'")
        texts = connection.execute("SELECT query_nr, query FROM tpcds_queries()").fetchall()
    for number, text in texts:
        (queries / f"q{number:02d}.sql").write_text(text, encoding="utf-8")


def _extension() -> Path:
    package = Path(str(resources.files("duckdb_extension_tpcds")))
    (found,) = package.rglob("*.duckdb_extension")
    return found


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
