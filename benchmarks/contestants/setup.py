"""What a contestant is told when it starts, what it is asked, and what it may answer.

Everything in this folder runs in the environment of its own peer: it may import the standard library,
pyarrow and that peer, and of ours only this folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa


class NotExpressed(Exception):
    """The contestant has no way to say this question. It is not counted against it."""


@dataclass(frozen=True)
class Setup:
    """`tables` are Parquet files, or folders of them, by name. `memory_bytes` 0 sets no limit."""

    contestant: str
    master: str
    threads: int
    memory_bytes: int
    tables: dict[str, str]
    scratch: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Setup:
        return cls(**json.loads(text))

    def parquet_paths(self, table: str) -> list[str]:
        """The files of a table, for readers that take no folders."""
        path = Path(self.tables[table])
        return (
            [str(file) for file in sorted(path.glob("*.parquet"))] if path.is_dir() else [str(path)]
        )


@dataclass(frozen=True)
class Question:
    """`program` names it (such as "tpch/3") for contestants that have their own way to say it.

    `sql` is in the contestant's dialect, or "" where there is no such text.
    """

    program: str
    sql: str = ""


Ask = Callable[[Question], pa.Table]
"""The whole answer, in memory."""

Enter = Callable[[Setup], AbstractContextManager[Ask]]
"""What each module of this folder offers as `enter`: the contestant is ready inside of it."""
