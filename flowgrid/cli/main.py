"""``flowgrid``: which commands there are, and what becomes of their errors.

Exit codes: a submitted program's own; 1 for what went wrong while running; 2 for a command line that
cannot be used, of which nothing was begun; 130 after Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from flowgrid.errors import ConfigError, FlowGridError

# A command's module is imported when it is called: `flowgrid --help` needs none of them.
_COMMANDS = {
    "submit": ("flowgrid.cli.submit", "Run a program on a cluster."),
    "scheduler": ("flowgrid.cli.cluster", "Run the scheduler of a cluster."),
    "executor": ("flowgrid.cli.cluster", "Offer this machine's slots to a scheduler."),
    "status": ("flowgrid.cli.status", "Show executors and jobs of a cluster."),
    "cancel": ("flowgrid.cli.cancel", "End a program that runs on a cluster."),
    "why": ("flowgrid.cli.why", "Show what a job of a cluster waits for."),
    "decommission": ("flowgrid.cli.decommission", "Let an executor leave without losing its work."),
    "clean": ("flowgrid.cli.clean", "Remove what interrupted jobs and killed processes left."),
    "bench": ("flowgrid.cli.bench", "Run a benchmark, in a checkout."),
    "keys": ("flowgrid.cli.keys", "Make the keys of a cluster that spans machines."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in _COMMANDS.items()])


def _show_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    # Finding versions takes 40 ms, for which only this option should pay.
    from flowgrid.protocol.versions import local_versions

    found = local_versions()
    click.echo(
        f"flowgrid {found.flowgrid or '(not installed)'} (protocol {found.protocol}, Python "
        f"{found.python}, pyarrow {found.pyarrow}, duckdb {found.duckdb})"
    )
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show what must be the same on all machines, and exit.",
)
def _flowgrid() -> None:
    """FlowGrid: dataframes, SQL and Python functions on one machine or many."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    try:
        code = _flowgrid.main(arguments, prog_name="flowgrid", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except click.Abort:
        return 130
    except ConfigError as error:
        return _failed(str(error), 2)
    except FlowGridError as error:
        return _failed(str(error), 1)
    return code if isinstance(code, int) else 0


def _failed(message: str, exit_code: int) -> int:
    print(f"flowgrid: error: {message}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
