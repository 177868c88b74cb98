"""``flowgrid bench``: the benchmarks of a checkout, by a shorter name.

They are no part of what is installed: they bring data, queries and peers that no user needs.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> int:
    """As ``python -m benchmarks``: that is what runs, so both say and record the same."""
    if not (find_spec("benchmarks") and find_spec("benchmarks.__main__")):
        raise click.UsageError(
            "the benchmarks come with a checkout: run this where `benchmarks` is"
        )
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments]).returncode
