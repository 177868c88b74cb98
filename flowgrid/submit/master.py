"""Where a program runs: the master string, and what `flowgrid submit` hands to the program.

=========================  ===================================================================
``local``, ``local[N]``    one executor on this machine whose one slot uses all (N) cores
``local-cluster[E,S,M]``   E executors on this machine, S single-threaded slots each, M MiB each
``tcp://host:port``        a running cluster
=========================  ===================================================================
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from flowgrid.config import MIB, Config, require_memory
from flowgrid.errors import ConfigError
from flowgrid.ids import DriverId
from flowgrid.submit.machine import cores, executor_memory_bytes

_FORMS = ("local", "local[N]", "local[*]", "local-cluster[E,S,M]", "tcp://host:port")
_LOCAL = re.compile(r"local(?:\[([1-9]\d*|\*)\])?")
_LOCAL_CLUSTER = re.compile(r"local-cluster\[([1-9]\d*),([1-9]\d*),([1-9]\d*)\]")


class LocalMaster(msgspec.Struct, frozen=True):
    """A cluster of child processes. `memory_bytes` is each executor's.

    `scheduler_restarts`: one that is killed is started again and goes on. A session that lives on one
    executor in one process tree does without: it would start 15 ms later, to survive less.
    """

    executors: int
    slots_per_executor: int
    threads_per_slot: int
    memory_bytes: int
    scheduler_restarts: bool = False


class RemoteMaster(msgspec.Struct, frozen=True):
    """A cluster that runs already; `address` is its scheduler's."""

    address: str


Master: TypeAlias = LocalMaster | RemoteMaster


def parse_master(text: str, config: Config) -> Master:
    """What a master string means. Raises `ConfigError`, which says what is allowed."""
    compact = re.sub(r"\s+", "", text)
    if match := _LOCAL.fullmatch(compact):
        threads = cores() if match[1] in (None, "*") else int(match[1])
        return LocalMaster(1, 1, threads, config.executor_memory or executor_memory_bytes())
    if match := _LOCAL_CLUSTER.fullmatch(compact):
        executors, slots, memory_mib = map(int, match.groups())
        require_memory(memory_mib * MIB, slots)
        return LocalMaster(executors, slots, 1, memory_mib * MIB, scheduler_restarts=True)
    if _is_tcp_endpoint(compact):
        return RemoteMaster(compact)
    near = difflib.get_close_matches(compact.lower(), _FORMS, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"unknown master {text!r}{hint} (allowed: {', '.join(_FORMS)})")


def _is_tcp_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme == "tcp" and bool(parts.hostname and parts.port) and not parts.path
    except ValueError:  # the port is no number, or too large
        return False


class Submitted(msgspec.Struct, frozen=True):
    """What was said on the command line; a program's own arguments to `connect` win over it."""

    master: str | None = None
    name: str | None = None
    conf: Mapping[str, str] = {}
    keys: Path | None = None

    def environment(self) -> dict[str, str]:
        """As environment variables, which `submitted_defaults` reads."""
        said = {
            "FLOWGRID_MASTER": self.master,
            "FLOWGRID_NAME": self.name,
            "FLOWGRID_CONF": json.dumps(dict(self.conf)) if self.conf else None,
            "FLOWGRID_KEYS": str(self.keys) if self.keys else None,
        }
        return {name: value for name, value in said.items() if value is not None}


def submitted_defaults() -> Submitted:
    """What `flowgrid submit` was told, from the environment. Raises `ConfigError`."""
    text = os.environ.get("FLOWGRID_CONF", "")
    try:
        conf = json.loads(text) if text else {}
    except ValueError:
        conf = None
    if not isinstance(conf, dict):
        raise ConfigError(f"FLOWGRID_CONF is no JSON object: {text!r}")
    keys = os.environ.get("FLOWGRID_KEYS")
    return Submitted(
        master=os.environ.get("FLOWGRID_MASTER") or None,
        name=os.environ.get("FLOWGRID_NAME") or None,
        conf={str(name): str(value) for name, value in conf.items()},
        keys=Path(keys) if keys else None,
    )


def driver_of(master: RemoteMaster) -> DriverId | None:
    """What the scheduler calls this process, if it is the driver of a program that this cluster runs."""
    match = re.fullmatch(r"program-(\d+)#(\d+)", os.environ.get("FLOWGRID_DRIVER", ""))
    if match is None or os.environ.get("FLOWGRID_MASTER") != master.address:
        return None
    return DriverId(int(match[1]), int(match[2]))
