"""What is said of a peer comes from runs in which FlowGrid took part, and from nothing else."""

from __future__ import annotations

import pytest

from benchmarks import standings
from benchmarks.recordings import Measurement, Recording

OURS = "flowgrid local"


def run(*measurements: Measurement) -> Recording:
    return Recording("tpch", {}, {"scale": 1, "versions": {"slow": "1.2"}}, list(measurements))


def test_a_peer_is_compared_with_what_flowgrid_did_in_the_same_run() -> None:
    on_an_idle_machine = run(
        Measurement("Q1", OURS, [1.0]), Measurement("Q1", "slow × 2", [3.0], cpu_seconds=[6.0])
    )
    on_a_busy_one = run(Measurement("Q1", OURS, [10.0]), Measurement("Q1", "quick × 2", [8.0]))

    slow, quick = standings.standings([on_an_idle_machine, on_a_busy_one])

    assert (slow.peer, slow.seconds, slow.ours) == ("slow × 2", 3.0, {OURS: 1.0})
    assert (quick.peer, quick.seconds, quick.ours) == ("quick × 2", 8.0, {OURS: 10.0})
    assert standings.grid([on_an_idle_machine, on_a_busy_one]).rows == [
        ["slow 1.2 × 2", "1 of 1", "3.00", "1.00 (3.00×)", "6.0", "0 MiB"],
        ["quick × 2", "1 of 1", "8.00", "10.00 (0.80×)", "0.0", "0 MiB"],
    ]


def test_queries_of_several_runs_are_added_up() -> None:
    some = run(Measurement("Q1", OURS, [1.0]), Measurement("Q1", "peer × 2", [3.0]))
    others = run(Measurement("Q2", OURS, [2.0]), Measurement("Q2", "peer × 2", [3.0]))
    [peer] = standings.standings([some, others])
    assert (peer.cases, peer.seconds, peer.ours) == (2, 6.0, {OURS: 3.0})


@pytest.mark.parametrize("whose", [OURS, "flowgrid local[1]", "peer × 2"])
def test_what_anybody_got_wrong_is_in_nobodys_sum(whose: str) -> None:
    names = [OURS, "flowgrid local[1]", "peer × 2"]
    right = [Measurement("Q1", name, [1.0]) for name in names]
    wrong = [Measurement("Q2", name, [5.0], "wrong" if name == whose else "") for name in names]
    [peer] = standings.standings([run(*right, *wrong)])
    assert (peer.cases, peer.seconds, peer.ours) == (1, 1.0, {name: 1.0 for name in names[:2]})


def test_who_got_nothing_right_has_no_speed() -> None:
    found = [Measurement("Q1", OURS, [1.0]), Measurement("Q1", "peer × 2", [9.0], "cannot")]
    [row] = standings.grid([run(*found)]).rows
    assert row[:4] == ["peer × 2", "0 of 1", "—", "—"]
