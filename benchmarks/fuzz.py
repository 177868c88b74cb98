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


@click.command("fuzz")
@click.option("--minutes", default=1.0, show_default=True, help="0 is one search.")
@click.option("--seed", type=int, help="Of the first search; random if not given.")
def command(minutes: float, seed: int | None) -> None:
    """Random queries, FlowGrid against DuckDB. Exits with 1 if they do not say the same."""
    seed = random.randrange(1 << 32) if seed is None else seed
    click.echo(f"seed {seed}")
    tally = run(60 * minutes, seed, click.echo)
    click.echo(
        f"{tally.examples} examples in {tally.searches} searches, "
        f"{tally.disagreements} of which found a disagreement"
    )
    if tally.disagreements:
        raise SystemExit(1)
