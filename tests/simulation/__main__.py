"""`python -m tests.simulation SEED` replays one schedule; `--seeds N --start S` looks for a bad one."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.simulation.schedule import BadSchedule, run_seeds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="replay this schedule")
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--lines", type=int, default=60, help="of the story of a bad schedule")
    parser.add_argument("--keep-going", action="store_true", help="only name the bad schedules")
    options = parser.parse_args()
    seeds = range(options.start, options.start + options.seeds)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    started, bad = time.process_time(), 0
    for outcome in run_seeds(seeds, options.lines):
        if isinstance(outcome, BadSchedule):
            bad += 1
            if options.keep_going:
                print("  #  ".join(str(outcome).splitlines()[:-3:-1]), flush=True)
                continue
            traceback.print_exception(outcome.__cause__)
            print(outcome)
            return 1
    took_s = time.process_time() - started
    print(f"{len(seeds)} schedules, {bad} bad, {len(seeds) / took_s:.0f} per second of CPU")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
