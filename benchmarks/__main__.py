"""`python -m benchmarks <what>`: measure, compare the answers, print, and record as JSON lines.

To add a benchmark, write a module with a click command and put a line into `COMMANDS`.
"""

from __future__ import annotations

import signal
import sys
from importlib import import_module

import click

COMMANDS = {
    "tpch": ("benchmarks.queries:tpch_command", "The 22 TPC-H queries, beside peers."),
    "tpcds": ("benchmarks.queries:tpcds_command", "The 99 TPC-DS queries, beside peers."),
    "groupby-join": ("benchmarks.groupby_join:command", "The questions of the db-benchmark."),
    "sort": ("benchmarks.sorting:command", "Records of 100 bytes, and a pass that checks them."),
    "wordcount": ("benchmarks.wordcount:command", "Python functions over text."),
    "shuffle": ("benchmarks.shuffle:command", "All rows to other tasks, and where the time goes."),
    "tasks": ("benchmarks.tasks:command", "What a task costs when there is nothing to do."),
    "memory": ("benchmarks.staircase:command", "Who finishes with 8, 4, 2 and 1 GiB?"),
    "recovery": ("benchmarks.recovery:command", "What the loss of an executor costs."),
    "planning": ("benchmarks.planning:command", "From a text to the first stages."),
    "gathers": ("benchmarks.gathers:command", "What one task alone reads of other stages."),
    "startup": ("benchmarks.startup:command", "First result and import time of a fresh process."),
    "chaos": ("benchmarks.chaos:command", "Kill processes at random while jobs run."),
    "cost": ("benchmarks.cost:command", "Slots at which FlowGrid beats DuckDB on one thread."),
    "compare": ("benchmarks.compare:command", "What became slower between two recordings."),
    "report": ("benchmarks.report:command", "Recorded runs as the figures of a README."),
    "fuzz": ("benchmarks.fuzz:command", "Random queries, FlowGrid against DuckDB."),
    "peers": ("benchmarks.peers:command", "Install and list who is measured beside FlowGrid."),
}
"""Where each command is, and what it is for. A module is imported when its command is called."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


@click.group(cls=_Commands)
def main() -> None:
    """Measure FlowGrid, beside its peers, in one run on the same data and cores."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends, files go


if __name__ == "__main__":
    main()
