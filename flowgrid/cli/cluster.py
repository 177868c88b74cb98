"""``flowgrid scheduler`` and ``flowgrid executor``: check the command line, then become the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import click

from flowgrid.cli.settings import conf_option, keys_option
from flowgrid.config import Config, parse_bytes
from flowgrid.errors import ConfigError
from flowgrid.submit.child_python import child_environment, python_module
from flowgrid.submit.machine import cores, executor_memory_bytes
from flowgrid.submit.master import RemoteMaster, parse_master
from flowgrid.transport.security import require_secure


@click.command()
@click.option("--bind", default="tcp://127.0.0.1:7077", show_default=True, help="Its address.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the journal is written.  [default: $XDG_STATE_HOME/flowgrid]",
)
@keys_option
@conf_option
def scheduler(bind: str, state_dir: Path | None, keys: Path | None, conf: dict[str, str]) -> None:
    """Run the scheduler of a cluster until Ctrl-C or SIGTERM."""
    Config.parse(conf)
    require_secure(bind, with_keys=keys is not None)
    state = state_dir or _state_home() / "flowgrid"
    _become("flowgrid_scheduler", ("--bind", bind, "--state-dir", str(state)), keys, conf)


@click.command()
@click.option("--scheduler", required=True, help="The scheduler's address, tcp://host:port.")
@click.option("--name", help="What people call it.  [default: executor-<process id>]")
@click.option("--slots", type=click.IntRange(min=1), help="Attempts at a time.  [default: cores]")
@click.option(
    "--memory",
    help="What it may use with all its slots: kernels, user code, buffers; such as 4g.  "
    "[default: a share of the machine]",
)
@click.option(
    "--directory",
    "directories",
    type=click.Path(),
    multiple=True,
    help="Where blocks go; removed at the end. Several, one per disk, share the work.",
)
@click.option("--bind", default="tcp://127.0.0.1:0", show_default=True, help="For its readers.")
@keys_option
@conf_option
def executor(
    scheduler: str,
    name: str | None,
    slots: int | None,
    memory: str | None,
    directories: tuple[str, ...],
    bind: str,
    keys: Path | None,
    conf: dict[str, str],
) -> None:
    """Offer this machine's slots to a scheduler until Ctrl-C or SIGTERM."""
    config = Config.parse(conf)
    if not isinstance(parse_master(scheduler, config), RemoteMaster):
        raise ConfigError(f"--scheduler {scheduler!r}: expected tcp://host:port")
    require_secure(bind, with_keys=keys is not None)
    try:
        memory_bytes = parse_bytes(memory) if memory else config.executor_memory
    except ValueError as error:
        raise ConfigError(f"--memory: {error}") from None
    flags = {
        "--scheduler": scheduler,
        "--name": name,
        "--slots": str(slots or cores()),
        "--memory": str(memory_bytes or executor_memory_bytes()),
        "--bind": bind,
    }
    given = [word for flag, value in flags.items() if value for word in (flag, value)]
    given += [word for one in directories for word in ("--directory", one)]
    _become("flowgrid_executor", given, keys, conf)


def _become(module: str, flags: Iterable[str], keys: Path | None, conf: dict[str, str]) -> NoReturn:
    """Replace this process: signals and exit code are then the server's own."""
    settings = [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
    shown = ["--keys", str(keys)] if keys else []
    sys.stdout.flush()
    os.execve(
        sys.executable,
        [*python_module(module), *flags, *shown, *settings],
        child_environment(),
    )


def _state_home() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
