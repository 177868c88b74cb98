"""``python -m flowgrid_executor``: flags in, exit code out.

Exit codes: 0 for an end in good order, 1 when the scheduler refuses us or no slot can be forked, 2 for
a command line that cannot be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from flowgrid_executor.template_process import DEFAULT_RUNNER, spawn_template


def main() -> int:
    arguments = _parser().parse_args()
    template = spawn_template(arguments.runner)
    # Imported only now, while the template imports its own share.
    from flowgrid.config import Config, parse_bytes, require_memory
    from flowgrid.errors import ConfigError
    from flowgrid.orphaned import remove_orphaned
    from flowgrid_executor.server import Options, run_executor
    from flowgrid_executor.slots import Slots

    slots = Slots(arguments.runner, template)
    try:
        config = Config.parse(dict(setting.split("=", 1) for setting in arguments.conf))
        memory_bytes = parse_bytes(arguments.memory) if arguments.memory else config.executor_memory
        memory_bytes = memory_bytes or _machine_share()
        require_memory(memory_bytes, arguments.slots)
        options = Options(
            scheduler=arguments.scheduler,
            name=arguments.name,
            slot_count=arguments.slots,
            threads_per_slot=arguments.threads_per_slot,
            directories=_directories(arguments, config.local_dirs),
            memory_bytes=memory_bytes,
            bind=arguments.bind,
            keys_directory=arguments.keys,
            owner_fd=arguments.owner_fd,
            ready_fd=arguments.ready_fd,
            config=config,
        )
        code = run_executor(options, slots)
        if options.owner_fd is not None:
            remove_orphaned(options.home.parent)
        return code
    except (ConfigError, ValueError) as error:
        print(f"flowgrid executor: {error}", file=sys.stderr)
        return 2
    finally:
        slots.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowgrid_executor", description="Offers slots to a scheduler and holds blocks."
    )
    add = parser.add_argument
    add("--scheduler", required=True, help="the scheduler's address, tcp://host:port")
    add("--name", default=f"executor-{os.getpid()}", help="what people call it")
    add("--slots", type=_positive, default=len(os.sched_getaffinity(0)), help="attempts at a time")
    add("--threads-per-slot", type=_positive, default=1, help="threads of a slot's kernel")
    add("--directory", action="append", help="where blocks go; may be given more than once")
    add(
        "--memory",
        default="",
        help="for the executor with all its slots, such as 4g; default: of the machine",
    )
    add("--bind", default="tcp://127.0.0.1:0", help="where readers fetch blocks")
    add("--keys", default="", help="directory of keys, made by `flowgrid keys`")
    add("--owner-fd", type=int, help="end when this descriptor's other end is closed")
    add("--ready-fd", type=int, help='write "ready" here once the scheduler knows us')
    add("--conf", action="append", default=[], type=_setting, help="a setting, name=value")
    add("--runner", default=DEFAULT_RUNNER, help=argparse.SUPPRESS)
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _setting(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    return text


def _directories(arguments: argparse.Namespace, local_dirs: Sequence[str]) -> tuple[Path, ...]:
    """The directories that were chosen, or a fresh name in each place for such things."""
    name = f"flowgrid-{arguments.name}-{os.urandom(4).hex()}"
    chosen = arguments.directory or [os.path.join(place, name) for place in local_dirs]
    if not chosen:
        import tempfile

        chosen = [os.path.join(tempfile.gettempdir(), name)]
    return tuple(Path(one).absolute() for one in chosen)


def _machine_share() -> int:
    """Three quarters of the machine's memory: the rest is for the system, page cache and others."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4


if __name__ == "__main__":
    os._exit(main())  # all is closed, and taking the interpreter down would take its time
