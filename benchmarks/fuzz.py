"""Random queries over random tables, FlowGrid against DuckDB, until the time is over.

The generator is the one that the tests use, in `tests/differential`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import click

EXAMPLES_PER_SEARCH = 100
"""Each search has a seed of its own: to repeat one takes this many examples at most."""

PLANTED_EXAMPLES_MAX = 1000
"""Within so many examples a planted bug is to be found."""


@dataclass
class Tally:
    """What a long run came to."""

    examples: int = 0
    searches: int = 0
    disagreements: int = 0


def run(seconds: float, seed: int, say: Callable[[str], object]) -> Tally:
    """Search after search with the seeds that follow, at least one; what is found is shown small."""
    from tests.differential.search import search  # hypothesis: only this command needs it

    tally = Tally()
    end = time.monotonic() + seconds
    while tally.searches == 0 or time.monotonic() < end:
        ran, found = search(seed + tally.searches, EXAMPLES_PER_SEARCH)
        tally.examples += ran
        if found is not None:
            tally.disagreements += 1
            again = f"python -m benchmarks fuzz --minutes 0 --seed {seed + tally.searches}"
            say(f"{found}\n\nrepeat with: {again}\n")
        tally.searches += 1
    return tally


def sensitivity(seed: int, examples_max: int, say: Callable[[str], object]) -> int:
    """Plants one bug after another and tells how many examples it took to find; how many were not."""
    import pytest

    from tests.differential.planted_bugs import PLANTED
    from tests.differential.search import search

    missed = 0
    for name, plant in PLANTED.items():
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            ran, found = search(seed, examples_max, small=False)
        missed += found is None
        say(f"{ran:5} examples: {name}" if found else f"not in {ran} examples: {name}")
    return missed


@click.command("fuzz")
@click.option("--minutes", default=1.0, show_default=True, help="0 is one search.")
@click.option("--seed", type=int, help="Of the first search; random if not given.")
@click.option("--planted", is_flag=True, help="See how soon bugs are found that are planted.")
def command(minutes: float, seed: int | None, planted: bool) -> None:
    """Random queries, FlowGrid against DuckDB. Exits with 1 if they do not say the same."""
    seed = random.randrange(1 << 32) if seed is None else seed
    click.echo(f"seed {seed}")
    if planted:
        raise SystemExit(1 if sensitivity(seed, PLANTED_EXAMPLES_MAX, click.echo) else 0)
    tally = run(60 * minutes, seed, click.echo)
    click.echo(
        f"{tally.examples} examples in {tally.searches} searches, "
        f"{tally.disagreements} of which found a disagreement"
    )
    if tally.disagreements:
        raise SystemExit(1)
