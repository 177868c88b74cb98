"""``flowgrid decommission``: an executor leaves, and nothing that it has finished is lost."""

from __future__ import annotations

from pathlib import Path

import click

from flowgrid.cli.settings import keys_option
from flowgrid.errors import FlowGridError
from flowgrid.submit.client import decommission as decommission_executor
from flowgrid.transport.security import Keys, Role


@click.command()
@click.argument("executor")
@click.option("--scheduler", default="tcp://127.0.0.1:7077", show_default=True, help="Whom to ask.")
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for an answer.")
@keys_option
def decommission(executor: str, scheduler: str, timeout: float, keys: Path | None) -> None:
    """Let EXECUTOR leave: it gets no new attempts, those that run may end, its blocks are moved to
    others, and then it ends with exit code 0. `flowgrid status` shows how far it is."""
    found = Keys(keys, Role.SUBMITTER) if keys else None
    answer = decommission_executor(scheduler, found, timeout, executor)
    if answer.refused:
        raise FlowGridError(answer.text)
    click.echo(answer.text)
