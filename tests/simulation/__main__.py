"""`python -m tests.simulation SEED` replays one schedule; `--seeds N --start S` looks for a bad one."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.schedule import BadSchedule, run_seeds

BLOCK_SCHEDULES = 100


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="replay this schedule")
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no more after so long")
    parser.add_argument("--processes", type=int, default=1, help="that share the schedules")
    parser.add_argument("--lines", type=int, default=60, help="of the story of a bad schedule")
    parser.add_argument("--keep-going", action="store_true", help="only name the bad schedules")
    options = parser.parse_args()
    if options.seed is not None:
        return _replay(options.seed, options.lines)
    print(f"schedules from {options.start} on", flush=True)
    done = bad = 0
    cpu_s = 0.0
    for schedules, took_s, stories in _searched(options):
        done, bad, cpu_s = done + schedules, bad + len(stories), cpu_s + took_s
        for story in stories:
            last = "  #  ".join(story.splitlines()[:-3:-1])
            print(last if options.keep_going else story, flush=True)
        if bad and not options.keep_going:
            break
    print(f"{done} schedules, {bad} bad, {done / max(cpu_s, 0.001):.0f} per second of CPU")
    return 1 if bad else 0


def _replay(seed: int, lines: int) -> int:
    for outcome in run_seeds([seed], lines):
        if isinstance(outcome, BadSchedule):
            traceback.print_exception(outcome.__cause__)
            print(outcome)
            return 1
    print(f"schedule {seed} is as it must be")
    return 0


def _searched(options: argparse.Namespace) -> Iterator[tuple[int, float, list[str]]]:
    """Block by block: how many schedules, their CPU seconds, the stories of the bad ones."""
    ends_at = time.monotonic() + 60 * options.minutes
    end = options.start + options.seeds
    firsts = range(options.start, end, BLOCK_SCHEDULES)
    blocks = [range(first, min(first + BLOCK_SCHEDULES, end)) for first in firsts]
    with ProcessPoolExecutor(options.processes) as pool:
        running = [pool.submit(_run_block, block, options.lines) for block in blocks]
        try:
            for one in running:
                yield one.result()
                if time.monotonic() >= ends_at:
                    break
        finally:
            pool.shutdown(cancel_futures=True)


def _run_block(seeds: Sequence[int], lines: int) -> tuple[int, float, list[str]]:
    since_s = time.process_time()
    stories = [str(one) for one in run_seeds(seeds, lines) if isinstance(one, BadSchedule)]
    return len(seeds), time.process_time() - since_s, stories


if __name__ == "__main__":
    sys.exit(main())
