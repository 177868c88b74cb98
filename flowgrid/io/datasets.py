"""Files as a relation: which there are, what they hold, and how tasks share them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowgrid.expr.tree import Expr, to_sql
from flowgrid.io.listing import DataFile
from flowgrid.io.statistics import (
    UNKNOWN,
    ColumnStatistics,
    RowGroupFacts,
    chunk_statistics,
    may_match,
    merged,
)
from flowgrid.protocol.fragment import Field, FileSplit

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class _Piece:
    """The least that a task can read: a row group, or a file whose format has none."""

    file: DataFile
    rows: tuple[int, int]
    """First row and the row after the last; (0, -1) is the whole file."""
    bytes: float


@dataclass(frozen=True, eq=False)
class FileDataset:
    """The files of one scan: one format, one schema. `options` are SQL literals for the reader.

    `footers` are those of Parquet files, one per file; other formats have none.
    """

    format: str
    label: str
    files: tuple[DataFile, ...]
    fields: tuple[Field, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    footers: tuple[pq.FileMetaData, ...] = ()
    _statistics: dict[str, ColumnStatistics] = field(default_factory=dict, init=False, repr=False)
    _chunks: dict[tuple[int, str], list[ColumnStatistics]] = field(
        default_factory=dict, init=False, repr=False
    )
    _matching: dict[tuple[str, ...], list[list[int]]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def bytes(self) -> int:
        """The size of all files; 0 for those whose size the file system does not say."""
        return sum(max(0, file.size) for file in self.files)

    @property
    def rows(self) -> int | None:
        """The number of rows; None where only reading would tell."""
        return sum(footer.num_rows for footer in self.footers) if self.footers else None

    def whole(self) -> tuple[FileSplit, ...]:
        """Every file, whole, in order: what a plan with one partition reads."""
        return tuple(FileSplit(file.path, file.size, file.modified_ns) for file in self.files)

    def splits(
        self, share_count: int, predicates: Sequence[Expr] = ()
    ) -> list[tuple[FileSplit, ...]]:
        """The files as at most `share_count` shares of about equal size, in order; at least one.

        Parquet is cut between row groups, and row groups in which no row can satisfy all
        `predicates` are left out. Files of other formats stay whole.
        """
        pieces = list(self._pieces(predicates))
        total = sum(piece.bytes for piece in pieces)
        found: list[list[_Piece]] = [[]]
        seen = 0.0
        for piece in pieces:
            # A piece belongs to the share in which its middle lies.
            if (seen + piece.bytes / 2) * share_count > total * len(found) and found[-1]:
                found.append([])
            found[-1].append(piece)
            seen += piece.bytes
        return [tuple(_splits_of(share)) for share in found]

    def read_bytes(self, columns: Sequence[str], predicates: Sequence[Expr], limit: float) -> float:
        """What a scan of these columns reads, as it lies in the files, without the row groups that
        `predicates` rule out. Counting ends above `limit`. Files without footers are read whole.
        """
        if not self.footers:
            return float(self.bytes)
        found = 0.0
        for footer, row_groups in zip(self.footers, self._row_groups(predicates), strict=True):
            indexes = _column_indexes(footer)
            wanted = [indexes.get(name.casefold()) for name in columns]
            for number in row_groups:
                found += _bytes_of(footer.row_group(number), wanted)
                if found > limit:
                    return found
        return found

    def column_statistics(self, name: str) -> ColumnStatistics:
        """What the footers say about the column's values, over all files; computed once."""
        folded = name.casefold()
        if folded not in self._statistics:
            self._statistics[folded] = self._column_statistics(folded)
        return self._statistics[folded]

    def _column_statistics(self, folded: str) -> ColumnStatistics:
        if any(folded not in _column_indexes(footer) for footer in self.footers):
            return UNKNOWN
        parts = [one for file in range(len(self.footers)) for one in self._column(file, folded)]
        return merged(parts) if parts else UNKNOWN

    def _column(self, file: int, folded: str) -> list[ColumnStatistics]:
        """The statistics of a column in every row group of a file, read from its footer once."""
        if (file, folded) not in self._chunks:
            footer = self.footers[file]
            index = _column_indexes(footer).get(folded)
            row_groups = map(footer.row_group, range(footer.num_row_groups))
            self._chunks[file, folded] = [
                UNKNOWN if index is None else chunk_statistics(row_group, index)
                for row_group in row_groups
            ]
        return self._chunks[file, folded]

    def _pieces(self, predicates: Sequence[Expr]) -> Iterator[_Piece]:
        if not self.footers:
            for file in self.files:
                yield _Piece(file, (0, -1), max(1, file.size))
            return
        found = self._row_groups(predicates)
        for file, footer, chosen in zip(self.files, self.footers, found, strict=True):
            starts = _first_rows(footer)
            for number in chosen:
                start, stop = starts[number], starts[number + 1]
                whole = footer.num_row_groups == 1
                share = (stop - start) / max(1, footer.num_rows)
                yield _Piece(file, (0, -1) if whole else (start, stop), file.size * share)

    def _row_groups(self, predicates: Sequence[Expr]) -> list[list[int]]:
        """By file, the row groups in which some row could satisfy all predicates.

        A plan asks several times for the same scan, and 500 row groups take 10 ms.
        """
        key = tuple(map(to_sql, predicates))
        if key not in self._matching:
            if len(self._matching) >= _MATCHING_MAX:
                self._matching.clear()
            self._matching[key] = [
                [
                    number
                    for number, facts in enumerate(self._facts(file))
                    if all(may_match(one, facts) for one in predicates)
                ]
                for file in range(len(self.footers))
            ]
        return self._matching[key]

    def _facts(self, file: int) -> Iterator[RowGroupFacts]:
        footer = self.footers[file]
        inexact = {
            name
            for name, index in _column_indexes(footer).items()
            if footer.schema.column(index).physical_type == "FLOAT"
        }

        def column(number: int, folded: str) -> ColumnStatistics:
            return UNKNOWN if folded in inexact else self._column(file, folded)[number]

        for number in range(footer.num_row_groups):
            rows = footer.row_group(number).num_rows
            yield RowGroupFacts(rows, functools.partial(column, number))


_MATCHING_MAX = 64
"""Sets of predicates whose row groups a dataset remembers."""


def _first_rows(footer: pq.FileMetaData) -> list[int]:
    """Where every row group starts, and where the last one ends."""
    rows = (footer.row_group(number).num_rows for number in range(footer.num_row_groups))
    return list(itertools.accumulate(rows, initial=0))


def _bytes_of(row_group: pq.RowGroupMetaData, columns: Sequence[int | None]) -> int:
    """The compressed size of some columns; of all if one is nested (None)."""
    chosen = [index for index in columns if index is not None]
    if len(chosen) < len(columns):
        chosen = list(range(row_group.num_columns))
    return sum(int(row_group.column(index).total_compressed_size) for index in chosen)


def _column_indexes(footer: pq.FileMetaData) -> dict[str, int]:
    """Where the columns that are not nested are in a row group, by casefolded name."""
    leaves = (footer.schema.column(index) for index in range(footer.num_columns))
    return {
        leaf.name.casefold(): index
        for index, leaf in enumerate(leaves)
        if leaf.path == leaf.name and not leaf.max_repetition_level
    }


def _splits_of(pieces: Sequence[_Piece]) -> Iterator[FileSplit]:
    """Neighbouring row groups of a file as one split."""
    run: list[_Piece] = []
    for piece in pieces:
        if run and (run[-1].file is not piece.file or run[-1].rows[1] != piece.rows[0]):
            yield _split(run)
            run = []
        run.append(piece)
    if run:
        yield _split(run)


def _split(run: Sequence[_Piece]) -> FileSplit:
    file = run[0].file
    return FileSplit(file.path, file.size, file.modified_ns, run[0].rows[0], run[-1].rows[1])
