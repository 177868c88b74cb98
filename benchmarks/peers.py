"""Who FlowGrid is measured beside, and the environment that each of them lives in.

One environment each: their versions of pyarrow and pandas differ, and none of them may decide ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.datasets import CACHE

PINS = Path(__file__).parent / "peers.txt"


@dataclass(frozen=True)
class Peer:
    """`dialect` is what sqlglot calls the SQL that it speaks; "" takes DuckDB's as it is."""

    name: str
    dialect: str = ""
    not_to_be_had: str = ""
    """Why no environment can be made of the package index; "" where one can."""


PEERS = {
    peer.name: peer
    for peer in (
        Peer("duckdb"),
        Peer("polars"),
        Peer("datafusion"),
        Peer("pyspark", "spark"),
        Peer("dask"),
        Peer("daft", "mysql"),
        Peer("ray"),
        Peer("sail", "spark"),
        Peer("ballista", not_to_be_had="the package index has it as source only"),
    )
}

_OURS = ("flowgrid", "duckdb")
"""What runs in the environment that runs the benchmarks."""


def python_of(name: str) -> Path | None:
    """The interpreter of a contestant, or None if its environment was not made."""
    if name in _OURS:
        return Path(sys.executable)
    python = _environment(name) / "bin" / "python"
    return python if python.exists() else None


def installed() -> list[str]:
    return [name for name in PEERS if python_of(name) is not None]


def chosen(against: str) -> list[str]:
    """The peers of ``--against`` that are here; "installed" is all of them.

    Says on standard error whom it leaves out. Raises `click.UsageError` for a name that nobody has, and
    when nobody is left of those that were asked for.
    """
    names = installed() if against == "installed" else [n for n in against.split(",") if n]
    if unknown := [name for name in names if name not in PEERS]:
        there = ", ".join(PEERS)
        raise click.UsageError(f"no such peer: {', '.join(unknown)}; there are {there}")
    here = [name for name in names if python_of(name) is not None]
    absent = [_absence(PEERS[name]) for name in names if name not in here]
    if absent and not here:
        raise click.UsageError(f"not installed: {'; '.join(absent)}")
    for one in absent:
        click.echo(f"left out: {one}", err=True)
    return here


def _absence(peer: Peer) -> str:
    """That it is not installed, and what would help."""
    help_ = peer.not_to_be_had or f"do: python -m benchmarks peers install {peer.name}"
    return f"{peer.name} ({help_})"


def pins() -> dict[str, list[str]]:
    """The pinned requirements of each peer that has an environment of its own."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return {name: requirements for name, *requirements in words}


def version_of(name: str) -> str:
    """As it is pinned; the first requirement of a line is the peer itself."""
    requirement = pins().get(name, [""])[0]
    return requirement.partition("==")[2]


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of those that have an environment of their own."""
    return {name: version for name in names if (version := version_of(name))}


def _environment(name: str) -> Path:
    return CACHE / "peers" / name


@click.group("peers")
def command() -> None:
    """The environments of the engines that FlowGrid is measured beside."""


@command.command("install")
@click.argument("names", nargs=-1)
def install(names: tuple[str, ...]) -> None:
    """Make the environments of these peers, of all if none is named; those that are there stay.

    Goes on when one cannot be installed, and exits with 1 at the end.
    """
    wanted = pins()
    if unknown := set(names) - set(wanted):
        raise click.UsageError(f"not in peers.txt, which says why: {', '.join(sorted(unknown))}")
    failed = [name for name in names or wanted if not _install(name, wanted[name])]
    if failed:
        raise click.ClickException(f"could not be installed: {', '.join(failed)}")


@command.command("list")
def list_() -> None:
    """Which peers there are, and which of them can run."""
    for name, peer in PEERS.items():
        found = "installed" if python_of(name) is not None else "not installed"
        version = version_of(name) or ("" if peer.not_to_be_had else "as FlowGrid has it")
        click.echo(f"{name:<12}{version:<20}{peer.not_to_be_had or found}")


def _install(name: str, requirements: list[str]) -> bool:
    environment = _environment(name)
    if environment.is_dir():
        click.echo(f"{name}: is there; delete {os.path.relpath(environment)} to make it anew")
        return True
    click.echo(f"{name}: {' '.join(requirements)}")
    making = environment.with_name(f"making-{name}")
    shutil.rmtree(making, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", making], check=True)
        pip = [str(making / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *requirements], check=True)
    except subprocess.CalledProcessError as error:
        click.echo(f"{name}: {error}", err=True)
        shutil.rmtree(making, ignore_errors=True)
        return False
    making.rename(environment)  # its interpreter is a link, and we start nothing else from it
    return True
