"""``flowgrid why``: the chain of what a job waits for, for people or as JSON."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec

from flowgrid.cli.settings import keys_option
from flowgrid.errors import FlowGridError
from flowgrid.ids import JobId
from flowgrid.protocol.waits import Wait
from flowgrid.submit.client import ask_status, ask_why
from flowgrid.transport.security import Keys, Role


class _JobName(click.ParamType[JobId]):
    name = "job"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> JobId:
        match = re.fullmatch(r"(?:job-)?([1-9]\d*)", str(value))
        if match is None:
            self.fail(f"{value!r} is no job; `flowgrid status` lists them", param, ctx)
        return JobId(int(match[1]))


@click.command()
@click.argument("job", type=_JobName())
@click.option("--scheduler", default="tcp://127.0.0.1:7077", show_default=True, help="Whom to ask.")
@click.option("--json", "as_json", is_flag=True, help="The chain with its numbers, for programs.")
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for an answer.")
@keys_option
def why(job: JobId, scheduler: str, as_json: bool, timeout: float, keys: Path | None) -> None:
    """Show what JOB (such as job-7) waits for, who acts next, and what happens if nobody does."""
    found = Keys(keys, Role.OBSERVER) if keys else None
    waits = ask_why(scheduler, found, timeout, job)
    if not waits:
        known = [str(one.job) for one in ask_status(scheduler, found, timeout).jobs]
        there = f"there is {', '.join(known)}" if known else "there are no jobs"
        raise FlowGridError(f"{scheduler} has no {job}: {there}")
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(waits)))
        return
    for wait in waits:
        click.echo(_line(wait))


def _line(wait: Wait) -> str:
    if wait.deadline_s is None:
        return wait.text
    return f"{wait.text}  [{wait.owner}, at most {wait.deadline_s:.0f} s]"
