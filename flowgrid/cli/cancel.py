"""``flowgrid cancel``: end a program that the cluster runs."""

from __future__ import annotations

import re
from pathlib import Path

import click

from flowgrid.cli.settings import keys_option
from flowgrid.ids import ProgramId
from flowgrid.submit.programs import ProgramClient
from flowgrid.transport.security import Keys, Role


class _ProgramName(click.ParamType[ProgramId]):
    name = "program"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> ProgramId:
        match = re.fullmatch(r"program-([1-9]\d*)", str(value))
        if match is None:
            self.fail(f"{value!r} is no program; `flowgrid status` lists them", param, ctx)
        return ProgramId(int(match[1]))


@click.command()
@click.argument("program", type=_ProgramName())
@click.option("--scheduler", default="tcp://127.0.0.1:7077", show_default=True, help="Whom to ask.")
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for an answer.")
@keys_option
def cancel(program: ProgramId, scheduler: str, timeout: float, keys: Path | None) -> None:
    """End PROGRAM (such as program-3): its driver is killed, and its jobs are cancelled."""
    found = Keys(keys, Role.SUBMITTER) if keys else None
    with ProgramClient(scheduler, found, timeout) as client:
        ended = client.cancel(program)
    click.echo(f"{program} has {ended.state}: {ended.text}")
