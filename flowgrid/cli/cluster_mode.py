"""``flowgrid submit --deploy-mode cluster``: the program runs on an executor, and survives its death."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from flowgrid.config import Config
from flowgrid.errors import ConfigError, FlowGridError
from flowgrid.protocol.programs import ProgramSpec, ProgramStatus
from flowgrid.submit.archives import name_of, pack
from flowgrid.submit.master import RemoteMaster, Submitted, parse_master
from flowgrid.submit.programs import ProgramClient
from flowgrid.transport.security import Keys, Role

INTERRUPTED = 130


def submit_to_cluster(
    submitted: Submitted,
    config: Config,
    app: Path,
    arguments: Sequence[str],
    files: Sequence[Path],
    wait: bool,
) -> int:
    """Hand the program in; returns its exit code, or 0 without waiting for it."""
    master = parse_master(submitted.master or "local", config)
    if not isinstance(master, RemoteMaster):
        raise ConfigError(
            "--deploy-mode cluster needs a cluster that is up: give --master tcp://host:port "
            f"({submitted.master or 'local'!r} ends with the process that starts it)"
        )
    spec = ProgramSpec(
        submitted.name or app.stem,
        name_of(app),
        tuple(arguments),
        dict(submitted.conf),
        pack(app, files),
    )
    keys = Keys(submitted.keys, Role.SUBMITTER) if submitted.keys else None
    with ProgramClient(master.address, keys, config.submit_timeout_s) as client:
        program = client.submit(spec).program
        if not wait:
            click.echo(str(program))
            return 0
        print(f"flowgrid: submitted as {program}", file=sys.stderr, flush=True)
        try:
            ended = client.follow(program, sys.stdout.buffer, sys.stderr.buffer)
        except KeyboardInterrupt:
            end_it = f"flowgrid cancel {program} --scheduler {master.address}"
            print(f"\nflowgrid: {program} goes on; `{end_it}` ends it", file=sys.stderr)
            return INTERRUPTED
    return _exit_code(ended)


def _exit_code(ended: ProgramStatus) -> int:
    """The program's own. Raises `FlowGridError` if it did not come to an end of its own."""
    if ended.exit_code is None:
        raise FlowGridError(f"{ended.program} has {ended.state}: {ended.text}")
    return ended.exit_code
