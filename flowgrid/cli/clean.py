"""``flowgrid clean``: remove what interrupted jobs and killed processes left."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from pathlib import Path

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Age(click.ParamType[float]):
    name = "age"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no age; write for example 30m, 12h or 7d", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--older-than",
    type=_Age(),
    default="1d",
    show_default=True,
    help="When a job that this machine knows nothing about counts as dead.",
)
@click.option(
    "--temp",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where killed clusters and executors left theirs.  [default: the system's]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def clean(
    paths: tuple[str, ...], older_than: float, temp: Path | None, dry_run: bool, as_json: bool
) -> None:
    """Finish interrupted commits in the output directories PATH..., remove the staging places of dead
    jobs there, and the directories of dead clusters and executors on this machine.

    Nothing of a job that runs is touched.
    """
    # fsspec takes 100 ms: not for `--help`.
    from flowgrid.io import commit
    from flowgrid.submit.leftovers import remove_stale

    cleaned = [one for path in paths for one in commit.clean(path, older_than, dry_run)]
    parent = (temp or Path(tempfile.gettempdir())).absolute()
    cleaned += [
        commit.Cleaned(str(found), "removed", "its process is gone")
        for found in remove_stale(parent, dry_run)
    ]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in cleaned], indent=2))
        return
    for one in cleaned:
        click.echo(f"{one.what:<9} {one.path}: {one.why}")
    if dry_run:
        click.echo("(dry run: nothing was touched)")
