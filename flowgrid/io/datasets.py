"""Files as a relation: which there are, what they hold, and how tasks share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flowgrid.protocol.fragment import Field, FileSplit


@dataclass(frozen=True)
class DataFile:
    """One file as the driver saw it; `rows` is None where only reading it would tell."""

    path: str
    size: int
    modified_ns: int
    rows: int | None = None


@dataclass(frozen=True, eq=False)
class FileDataset:
    """The files of one scan: one format, one schema. `options` are SQL literals for the reader."""

    format: str
    label: str
    files: tuple[DataFile, ...]
    fields: tuple[Field, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    def whole(self) -> tuple[FileSplit, ...]:
        """Every file, whole, in order: what a plan with one partition reads."""
        return tuple(FileSplit(file.path, file.size, file.modified_ns) for file in self.files)
