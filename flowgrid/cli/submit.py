"""``flowgrid submit``: run a program as ``python app.py`` does, with a cluster for `fg.connect()`."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from pathlib import Path
from types import TracebackType

import click

from flowgrid.cli.cluster_mode import INTERRUPTED, submit_to_cluster
from flowgrid.cli.settings import conf_option, keys_option
from flowgrid.config import Config
from flowgrid.errors import ConfigError, FlowGridError
from flowgrid.submit.master import Submitted, parse_master
from flowgrid.transport.security import Keys, Role


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--master", help="local, local[N], local-cluster[E,S,M] or tcp://host:port.")
@click.option(
    "--deploy-mode",
    type=click.Choice(["client", "cluster"]),
    default="client",
    show_default=True,
    help="Run it in this process, or on an executor that starts it again when it dies.",
)
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="In cluster mode: print what it prints and end as it ends, or print its name at once.",
)
@click.option(
    "--files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="In cluster mode: a file or folder that lies beside the program; several times.",
)
@click.option("--name", help="What the cluster shows for this program.")
@click.option("--resume", help="Go on from the run of this name that was killed, if there is one.")
@click.option(
    "--executor-memory",
    metavar="SIZE",
    help="Under local: what its executor may use with all that runs in it, such as 4g. "
    "A local-cluster says it in its name, a cluster's executors when they start.  "
    "[default: a share of the machine]",
)
@conf_option
@keys_option
@click.argument("app", type=click.Path(exists=True, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def submit(
    master: str | None,
    deploy_mode: str,
    wait: bool,
    files: tuple[Path, ...],
    name: str | None,
    resume: str | None,
    executor_memory: str | None,
    conf: dict[str, str],
    keys: Path | None,
    app: Path,
    arguments: tuple[str, ...],
) -> int:
    """Run APP with ARGUMENTS. What the program itself says to fg.connect() wins over options."""
    if resume is not None:
        conf = {**conf, "resume.name": resume}
    if executor_memory is not None:
        conf = {**conf, "executor.memory": executor_memory}
    config = Config.parse(conf)
    if master is not None:
        parse_master(master, config)
    if keys is not None:
        Keys(keys, Role.SUBMITTER).client()
    _main_of(app)
    submitted = Submitted(master, name or app.stem, conf, keys)
    if deploy_mode == "cluster":
        return submit_to_cluster(submitted, config, app, arguments, files, wait)
    if files or not wait:
        raise ConfigError("--files and --no-wait are for --deploy-mode cluster")
    os.environ |= submitted.environment()
    return run_program(app, arguments)


def run_program(app: Path, arguments: tuple[str, ...]) -> int:
    """The program as ``__main__`` of this process; returns its exit code, or raises SystemExit."""
    sys.argv = [os.fspath(app), *arguments]
    program = _main_of(app)
    sys.path.insert(0, os.fspath(program.absolute().parent))
    try:
        # Given a folder, runpy would make its path absolute, which is part of pickled functions: stages
        # of the same program, unpacked somewhere else, would not be known again.
        runpy.run_path(os.fspath(program), run_name="__main__")
    except FlowGridError as error:
        where = _line_in(program, error.__traceback__)
        print(f"flowgrid: error: {where}{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        traceback.print_exception(error.with_traceback(_from(program, error.__traceback__)))
        return 1
    return 0


def _main_of(app: Path) -> Path:
    """The file to run of a program. Raises `ConfigError` for a folder that has none."""
    if not app.is_dir():
        return app
    program = app / "__main__.py"
    if not program.is_file():
        raise ConfigError(f"{app} has no __main__.py: a folder needs one to be run as a program")
    return program


def _from(program: Path, entry: TracebackType | None) -> TracebackType | None:
    """A traceback from the program's first line on: how we got there is not the user's concern."""
    while entry is not None and entry.tb_frame.f_code.co_filename != os.fspath(program):
        entry = entry.tb_next
    return entry


def _line_in(program: Path, entry: TracebackType | None) -> str:
    """The innermost line of the program itself that led to an error, as the start of a sentence."""
    line = 0
    while (entry := _from(program, entry)) is not None:
        line = entry.tb_lineno
        entry = entry.tb_next
    return f"{program}, line {line}: " if line else ""
