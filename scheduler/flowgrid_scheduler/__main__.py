"""`python -m flowgrid_scheduler`: flags, signals, run.

Exit codes: 0 ended in good order, 2 flags or an address that cannot be used.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

import zmq

from flowgrid.config import Config
from flowgrid.errors import ConfigError
from flowgrid.orphaned import remove_orphaned
from flowgrid.transport.security import Keys
from flowgrid_scheduler.job_log import JobLog, LogFullError
from flowgrid_scheduler.server import SchedulerServer

USAGE_ERROR = 2
FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run a scheduler until SIGTERM, SIGINT or the end of its owner; returns the exit code."""
    flags = _parse(arguments)
    try:
        config = Config.parse(dict(_setting(text) for text in flags.conf))
        keys = Keys(Path(flags.keys), "scheduler") if flags.keys else None
        state_dir = Path(flags.state_dir)
        if flags.owner_fd is None:  # else it is the owner's: nobody else would remove it again
            state_dir.mkdir(parents=True, exist_ok=True)
        log = _open_log(state_dir) if flags.log else None
        server = SchedulerServer(flags.bind, state_dir, config, keys, log)
    except (ConfigError, OSError, zmq.ZMQError) as error:
        print(f"flowgrid scheduler: cannot serve on {flags.bind}: {error}", file=sys.stderr)
        return USAGE_ERROR
    stop_fds = (_stop_signal_fd(), *([] if flags.owner_fd is None else [flags.owner_fd]))
    _announce(server, flags.ready_fd)
    try:
        server.run(stop_fds)
    except LogFullError as error:
        print(f"flowgrid scheduler: {error}: make some and start it again", file=sys.stderr)
        return FAILED
    if flags.owner_fd is not None:
        remove_orphaned(Path(flags.state_dir))
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="flowgrid scheduler", description=__doc__)
    parser.add_argument("--bind", default="tcp://127.0.0.1:0", help="the control address")
    parser.add_argument(
        "--state-dir", required=True, help="where the job log is kept; made if missing"
    )
    parser.add_argument(
        "--no-log", dest="log", action="store_false", help="jobs end with this process"
    )
    parser.add_argument("--keys", help="directory of CURVE keys; needed beyond loopback")
    parser.add_argument("--ready-fd", type=int, help="where to write the addresses, as one line")
    parser.add_argument(
        "--owner-fd", type=int, help="end when this pipe reports its end, and remove the state"
    )
    parser.add_argument("--conf", action="append", default=[], metavar="NAME=VALUE")
    return parser.parse_args(arguments)


def _open_log(state_dir: Path) -> JobLog:
    """Raises `ConfigError` if it cannot be used."""
    # Imported here: a cluster that keeps no log starts 4 ms earlier without it.
    from flowgrid_scheduler.sqlite_log import LogUnusableError, SqliteLog

    try:
        return SqliteLog(state_dir)
    except LogUnusableError as error:
        raise ConfigError(str(error)) from None


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--conf {text!r}: expected name=value")
    return name, value


def _stop_signal_fd() -> int:
    """A file descriptor that becomes readable when we are asked to end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return reader


def _announce(server: SchedulerServer, ready_fd: int | None) -> None:
    """One JSON line: where we can be reached."""
    line = json.dumps(
        {
            "control": server.control_address,
            "heartbeat": server.heartbeat_address,
            "pid": os.getpid(),
        }
    )
    if ready_fd is None:
        print(line, flush=True)
    else:
        with os.fdopen(ready_fd, "w") as ready:
            ready.write(line + "\n")


if __name__ == "__main__":
    os._exit(main())  # all is closed, and taking the interpreter down would take its time
