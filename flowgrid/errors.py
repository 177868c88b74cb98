"""What a user can catch: every error of FlowGrid is a `FlowGridError`.

An error says what went wrong, where, and what to do next. Errors are raised in the driver only;
between processes a failure is a value (`flowgrid.protocol.failures.Failure`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FlowGridError(Exception):
    """The root of every error that FlowGrid raises on purpose."""


class ConfigError(FlowGridError):
    """A setting, a master string or a command-line value that cannot be used."""


class PlanError(FlowGridError):
    """A query that cannot mean anything: found before any task runs."""


class ColumnNotFoundError(PlanError):
    """A column name that the input does not have."""

    def __init__(self, name: str, available: Iterable[str], where: str = "") -> None:
        names = list(available)
        lowered = {candidate.casefold(): candidate for candidate in names}
        matches = difflib.get_close_matches(name.casefold(), lowered, n=3, cutoff=0.5)
        near = [lowered[match] for match in matches]
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        parts = [f"unknown column {name!r}" + (f" in {where}" if where else ""), hint]
        super().__init__("; ".join(p for p in parts if p) + f" (columns here: {shown})")
        self.name = name
        self.near = near


class TypeMismatchError(PlanError):
    """An expression whose operands do not fit: the kernel has no such function for these types."""


class SqlSyntaxError(PlanError):
    """SQL text that cannot be parsed; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        where = f" at line {line}, column {column}" if line is not None else ""
        super().__init__(f"SQL syntax error{where}: {message}")
        self.line = line
        self.column = column


class InputError(FlowGridError):
    """Input that is missing, unreadable, or not what its format says."""


class SchemaMismatchError(InputError):
    """Files of one scan that do not have the same columns and types."""


class OutputExistsError(FlowGridError):
    """The output directory is already there and `mode="error"` protects it."""


class OutputError(FlowGridError):
    """Output cannot be written where it is to be: a full or read-only disk, a lack of rights."""


class OutputBusyError(FlowGridError):
    """Another program has begun to publish to the same output, and does not come to an end."""


class ConnectError(FlowGridError):
    """The cluster cannot be reached, refused us, or did not start."""


class JobError(FlowGridError):
    """A job that ended without an answer; `kind` names the failure as the cluster saw it."""

    def __init__(self, message: str, kind: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback


class UserCodeError(JobError):
    """The user's own function raised; the message ends with its traceback."""


class OutOfMemoryError(JobError):
    """A task needs more memory than an executor has, with nothing running beside it."""


class NoExecutorsError(JobError):
    """Every executor is gone and none came back within the grace period."""


class JobCancelledError(JobError):
    """The job was cancelled, by the user or because its driver went away."""
