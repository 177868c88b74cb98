"""Every setting with its default, unit and meaning, in one frozen `Config`.

A setting is written ``section.name`` by users (`fg.connect(conf=...)`, `flowgrid submit --conf`) and is
a field ``section_name`` here. Unknown names and values that do not parse are a `ConfigError` that names
the setting, because a setting that is silently ignored is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flowgrid.errors import ColumnNotFoundError, ConfigError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

EXECUTOR_OWN_BYTES = 32 * MIB
"""Of an executor's memory what its supervisor and template need. Measured: 14 and 10 MiB, and what
counts blocks and attempts."""

SLOT_BYTES_MIN = 96 * MIB
"""With less a slot has no room beside itself for a kernel that spills and a few batches."""

_UNITS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Bytes from "512", "64k", "1.5g" or "8GiB"; units are powers of 1024. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write for example 512m or 4g")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def parse_bool(text: str) -> bool:
    """True or False from the usual words. Raises ValueError."""
    match text.strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError(f"{text!r} is neither true nor false")


def executor_memory_bytes_min(slot_count: int) -> int:
    """Below it an executor with so many slots does not start."""
    return EXECUTOR_OWN_BYTES + slot_count * SLOT_BYTES_MIN


def require_memory(memory_bytes: int, slot_count: int) -> None:
    """Raises `ConfigError` if it is not enough for an executor with so many slots."""
    if memory_bytes < (least := executor_memory_bytes_min(slot_count)):
        raise ConfigError(
            f"{memory_bytes / MIB:,.0f} MiB are too little memory for an executor with {slot_count} "
            f"slots: at least {least / MIB:,.0f} MiB, or fewer slots"
        )


class Setting(msgspec.Struct, frozen=True):
    """What is known of a field of `Config`; `parse` raises ValueError."""

    default: Any
    help: str
    parse: Callable[[str], Any]
    field: str = ""


_settings: list[Setting] = []


def _setting(default: Any, help: str, parse: Callable[[str], Any] | None = None) -> Any:
    _settings.append(Setting(default, help, parse or type(default)))
    return default


class Config(msgspec.Struct, frozen=True):
    """All settings. `Config.parse({"executor.memory": "4g"})` checks names and values."""

    executor_memory: int = _setting(
        0,
        "bytes one executor may use with all its slots; 0 takes a share of the machine",
        parse_bytes,
    )
    executor_local_dir: str = _setting(
        "",
        "where executors keep blocks and spill: one folder, or several with commas between them, "
        "one per disk; empty is the system's temporary directory",
    )
    executor_heartbeat_interval_s: float = _setting(0.5, "seconds between an executor's heartbeats")
    executor_heartbeat_timeout_s: float = _setting(
        10.0, "an executor silent for this many seconds is lost"
    )
    scheduler_no_executors_grace_s: float = _setting(
        60.0, "how long jobs wait for an executor when there is none, before they fail"
    )
    scheduler_roll_call_s: float = _setting(
        5.0, "how long a scheduler that goes on from its log waits for the executors in there"
    )
    scheduler_record_events: bool = _setting(
        False,
        "write every event that a scheduler handles to a file in its state directory, to replay it",
        parse_bool,
    )
    scheduler_driver_lease_s: float = _setting(
        30.0, "a driver silent for this many seconds is gone; its jobs are cancelled"
    )
    scheduler_stall_warning_s: float = _setting(
        60.0,
        "a job of which nothing has moved for so many seconds is reported to its driver, with what "
        "it waits for; 0 is never",
    )
    task_attempts_max: int = _setting(4, "tries of a task before its job fails")
    task_user_attempts_max: int = _setting(
        2, "tries of a task that fails in the user's own code: code that is wrong stays wrong"
    )
    task_process_deaths_max: int = _setting(
        3, "slot processes that one task may bring down before it is called poison"
    )
    exclusion_failures_max: int = _setting(
        3,
        "failures of its own after which an executor gets no new attempts for a while; 0 is never",
    )
    exclusion_window_s: float = _setting(300.0, "for how long a failure speaks against an executor")
    exclusion_duration_s: float = _setting(300.0, "how long an executor gets no new attempts then")
    speculation_enabled: bool = _setting(
        True, "a second attempt for a task that is much slower than its like", parse_bool
    )
    speculation_quantile: float = _setting(
        0.75, "part of a stage's tasks that must have succeeded before one can be called slow"
    )
    speculation_multiplier: float = _setting(
        3.0, "how many times as slow, per row read, as the median task of its stage"
    )
    speculation_run_s_min: float = _setting(
        3.0, "seconds that an attempt must have run, so that a second one is worth the work"
    )
    planner_target_partition_bytes: int = _setting(
        64 * MIB,
        "shuffled bytes one task should read; small partitions are merged up to this",
        parse_bytes,
    )
    planner_split_bytes: int = _setting(
        256 * MIB, "bytes of input files one scan task should read, at most", parse_bytes
    )
    planner_broadcast_bytes_max: int = _setting(
        64 * MIB,
        "a join side up to this size is sent whole to every task of the other side",
        parse_bytes,
    )
    planner_reduce_bytes_min: int = _setting(
        32 * MIB,
        "from so many bytes on, rows may be asked for a join's keys before they are folded or sent",
        parse_bytes,
    )
    planner_single_task_bytes_max: int = _setting(
        64 * MIB,
        "a plan that reads at most so many bytes of files runs as one task; 0 is never",
        parse_bytes,
    )
    planner_force_exchanges: bool = _setting(
        False,
        "no broadcast, no merging of partitions, nothing whole in one task: small data walks the "
        "big-data paths",
        parse_bool,
    )
    planner_partitions: int = _setting(
        0, "hash partitions of every exchange; 0 lets the planner choose from slots and bytes"
    )
    fetch_in_flight_bytes_max: int = _setting(
        32 * MIB,
        "fetched and not yet read bytes per task; above it a slow task slows its peers, not memory",
        parse_bytes,
    )
    kernel_batch_rows: int = _setting(
        122_880, "rows per record batch that streams out of the kernel"
    )
    resume_name: str = _setting(
        "",
        "under this name a program that is run again finds what is done of its run that was killed; "
        "empty is never",
    )
    resume_keep_s: float = _setting(
        600.0, "how long what a killed driver's jobs have done is kept for the next run"
    )
    resume_keep_bytes: int = _setting(
        8 * GIB,
        "blocks kept for next runs, in the whole cluster; above it the oldest job goes first",
        parse_bytes,
    )
    submit_restarts_max: int = _setting(
        3,
        "how often the driver of a program that the cluster runs is started again when it dies",
    )
    submit_reconnect_s: float = _setting(
        15.0, "how long a driver waits for a scheduler that is gone to be started again"
    )
    submit_timeout_s: float = _setting(
        30.0, "seconds to wait for a scheduler or executor to answer"
    )

    @property
    def local_dirs(self) -> tuple[str, ...]:
        """`executor.local_dir`, one by one."""
        return tuple(filter(None, map(str.strip, self.executor_local_dir.split(","))))

    @classmethod
    def parse(cls, conf: Mapping[str, object] | None) -> Config:
        """A `Config` from user settings; raises `ConfigError` for unknown names and bad values."""
        values: dict[str, Any] = {}
        for name, value in (conf or {}).items():
            if name not in SETTINGS:
                hint = ColumnNotFoundError(name, SETTINGS).near
                near = f"; did you mean {' or '.join(map(repr, hint))}?" if hint else ""
                raise ConfigError(f"unknown setting {name!r}{near}")
            values[SETTINGS[name].field] = _parse_value(name, SETTINGS[name], str(value))
        return cls(**values)

    def to_conf(self) -> dict[str, str]:
        """The settings that differ from their defaults, as text; `parse` reads it back."""
        values = {name: getattr(self, setting.field) for name, setting in SETTINGS.items()}
        return {name: str(v) for name, v in values.items() if v != SETTINGS[name].default}


SETTINGS = {
    field.replace("_", ".", 1): msgspec.structs.replace(setting, field=field)
    for field, setting in zip(Config.__struct_fields__, _settings, strict=True)
}
"""By the names that users write."""


def _parse_value(name: str, setting: Setting, text: str) -> object:
    try:
        value = setting.parse(text)
    except ValueError as error:
        words = {int: "a whole number", float: "a number"}
        wanted = words.get(setting.parse, "")  # type: ignore[call-overload]
        raise ConfigError(
            f"setting {name}={text!r}: "
            + (f"expected {wanted}" if wanted else str(error))
            + f" ({setting.help})"
        ) from None
    if isinstance(value, int | float) and value < 0:
        raise ConfigError(f"setting {name}={text!r}: must not be negative")
    return value
