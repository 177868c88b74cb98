"""`python -m tests.simulation SEED` replays one schedule; `--seeds N --start S` looks for a bad one."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.simulation.schedule import COMMAND, run_seed
from tests.simulation.world import World


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="replay this schedule")
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--lines", type=int, default=60, help="of the trace of a bad schedule")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first")
    options = parser.parse_args()
    seeds = range(options.start, options.start + options.seeds)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    started, bad = time.perf_counter(), 0
    for seed in seeds:
        world = World(seed)
        try:
            run_seed(world)
        except Exception as error:
            bad += 1
            if options.keep_going:
                print(f"{COMMAND.format(seed)}  # {type(error).__name__}: {error}"[:200])
                continue
            print("\n".join(world.story(options.lines)))
            print(traceback.format_exc())
            print(f"replay with: {COMMAND.format(seed)}")
            return 1
    took_s = time.perf_counter() - started
    print(f"{len(seeds)} schedules, {bad} bad, {len(seeds) / took_s:.0f} per second")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
