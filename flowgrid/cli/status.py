"""``flowgrid status``: executors and jobs of a cluster, for people or as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from flowgrid.cli.settings import keys_option
from flowgrid.config import GIB, MIB
from flowgrid.protocol.messages import ClusterStatus
from flowgrid.protocol.programs import ProgramStatus
from flowgrid.protocol.status import JobStatus
from flowgrid.submit.client import ask_status
from flowgrid.transport.security import Keys, Role

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@click.option("--scheduler", default="tcp://127.0.0.1:7077", show_default=True, help="Whom to ask.")
@click.option("--json", "as_json", is_flag=True, help="The whole status, for programs.")
@click.option("--timeout", default=10.0, show_default=True, help="Seconds to wait for an answer.")
@keys_option
def status(scheduler: str, as_json: bool, timeout: float, keys: Path | None) -> None:
    """Show executors and jobs of a cluster."""
    found = ask_status(scheduler, Keys(keys, Role.OBSERVER) if keys else None, timeout)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
    else:
        _show(scheduler, found)


def _show(scheduler: str, found: ClusterStatus) -> None:
    from rich.console import Console  # rich takes 50 ms to import; JSON does not need it
    from rich.markup import escape
    from rich.table import Table

    executors = Table(title=f"Executors of {scheduler}", title_justify="left")
    for heading in ("executor", "state", "host", "slots", "running", "blocks", "heard"):
        executors.add_column(
            heading, justify="left" if heading in "executor state host" else "right"
        )
    for one in found.executors:
        executors.add_row(
            escape(one.executor.name),
            "leaving" if one.leaving else "excluded" if one.excluded else "active",
            escape(one.host),
            str(one.slots),
            str(one.running),
            _size(one.blocks_bytes),
            f"{one.heartbeat_age_s:.1f} s ago",
        )
    jobs = Table(title="Jobs", title_justify="left")
    for heading in ("job", "name", "state", "stages", "tasks", "age"):
        jobs.add_column(heading, justify="left" if heading in "job name state" else "right")
    for job in found.jobs:
        jobs.add_row(*map(escape, _job_row(job)))
    console = Console()
    console.print(executors)
    for one in found.executors:
        if one.leaving:
            console.print(f"{one.executor.name} is leaving: {one.leaving}", markup=False)
        if one.excluded:
            console.print(f"{one.executor.name} gets no new attempts: {one.excluded}", markup=False)
        for directory in one.excluded_directories:
            console.print(f"{one.executor.name} does without {directory}", markup=False)
    console.print(jobs)
    if found.programs:
        console.print(_programs(found.programs))


def _programs(programs: Iterable[ProgramStatus]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Programs", title_justify="left")
    for heading in ("program", "name", "state", "executor", "driver", ""):
        table.add_column(heading, justify="right" if heading == "driver" else "left")
    for one in programs:
        row = (str(one.program), one.name, one.state, one.executor, f"#{one.driver}", one.text)
        table.add_row(*map(escape, row))
    return table


def _job_row(job: JobStatus) -> tuple[str, ...]:
    finished = sum(stage.succeeded == stage.tasks for stage in job.stages)
    succeeded = sum(stage.succeeded for stage in job.stages)
    tasks = sum(stage.tasks for stage in job.stages)
    return (
        str(job.job),
        job.name,
        job.state,
        f"{finished}/{len(job.stages)}",
        f"{succeeded}/{tasks}",
        f"{job.age_s:.0f} s",
    )


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"
