"""Files as a relation: which there are, what they hold, and how tasks share them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowgrid.expr.tree import Expr
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
        for footer in self.footers:
            indexes = _column_indexes(footer)
            wanted = [indexes.get(name.casefold()) for name in columns]
            for number in range(footer.num_row_groups):
                row_group = footer.row_group(number)
                if all(may_match(one, _facts(row_group, indexes)) for one in predicates):
                    found += _bytes_of(row_group, wanted)
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
        parts = []
        for footer in self.footers:
            index = _column_indexes(footer).get(folded)
            if index is None:
                return UNKNOWN
            groups = range(footer.num_row_groups)
            parts += [chunk_statistics(footer.row_group(group), index) for group in groups]
        return merged(parts) if parts else UNKNOWN

    def _pieces(self, predicates: Sequence[Expr]) -> Iterator[_Piece]:
        if not self.footers:
            for file in self.files:
                yield _Piece(file, (0, -1), max(1, file.size))
            return
        for file, footer in zip(self.files, self.footers, strict=True):
            indexes = _column_indexes(footer) if predicates else {}
            start = 0
            for number in range(footer.num_row_groups):
                row_group = footer.row_group(number)
                stop = start + row_group.num_rows
                if all(may_match(one, _facts(row_group, indexes)) for one in predicates):
                    whole = footer.num_row_groups == 1
                    share = row_group.num_rows / max(1, footer.num_rows)
                    yield _Piece(file, (0, -1) if whole else (start, stop), file.size * share)
                start = stop


def _bytes_of(row_group: pq.RowGroupMetaData, columns: Sequence[int | None]) -> int:
    """The compressed size of some columns; of all if one is nested (None)."""
    chosen = [index for index in columns if index is not None]
    if len(chosen) < len(columns):
        chosen = list(range(row_group.num_columns))
    return sum(int(row_group.column(index).total_compressed_size) for index in chosen)


def _facts(row_group: pq.RowGroupMetaData, indexes: Mapping[str, int]) -> RowGroupFacts:
    def column(folded: str) -> ColumnStatistics:
        index = indexes.get(folded)
        if index is None or row_group.column(index).physical_type == "FLOAT":
            return UNKNOWN
        return chunk_statistics(row_group, index)

    return RowGroupFacts(row_group.num_rows, column)


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
