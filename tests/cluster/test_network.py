"""What a network does to its connections costs time, and never an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

import flowgrid as fg
from flowgrid.protocol.block_transfer import FETCH_PATIENCE_S
from flowgrid.protocol.waits import Wait, WaitKind
from flowgrid.submit.client import ask_status, ask_why
from tests.cluster.assassin import RECORDED, fetches_failed, journal_of
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.distant import Distant, distant
from tests.cluster.heavy import SHUFFLES, require_right, shuffled
from tests.cluster.proxy import Proxy

pytestmark = pytest.mark.xdist_group("network")

IMPATIENT = {
    **RECORDED,
    "executor.heartbeat_timeout_s": "2",
    "executor.heartbeat_interval_s": "0.2",
    # What one test did to an executor must not speak against it in the next.
    "exclusion.failures_max": "0",
}


@pytest.fixture(scope="module")
def cluster(shared_premises: Premises) -> Iterator[Distant]:
    """Two executors on two hosts. Every test leaves its ways as it found them."""
    with distant(shared_premises, conf=IMPATIENT) as opened:
        yield opened


@pytest.fixture
def session(cluster: Distant) -> Iterator[fg.Session]:
    with fg.connect(cluster.address, conf=SHUFFLES) as opened:
        eventually("both executors are there", lambda: executors(cluster) == 2, within_s=20)
        yield opened
        eventually("both are there again", lambda: executors(cluster) == 2, within_s=20)
        require_right(shuffled(opened), within_s=20)


def executors(cluster: Distant) -> int:
    return len(ask_status(cluster.address, None, 5.0).executors)


def incarnations(cluster: Distant) -> set[str]:
    return {str(one.executor) for one in ask_status(cluster.address, None, 5.0).executors}


def while_it_runs(
    cluster: Distant, session: fg.Session, strike: Callable[[], None], within_s: float = 30
) -> None:
    """The job is right although something strikes as soon as blocks travel. It is run until they do:
    one executor alone may have been there for the first."""
    travelled = sum(way.bytes_forwarded for way in cluster.data)
    struck = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not struck.is_set():
                require_right(shuffled(session), within_s)
        except BaseException as error:
            failures.append(error)

    job = threading.Thread(target=run)
    job.start()
    try:
        eventually(
            "blocks travel",
            lambda: sum(way.bytes_forwarded for way in cluster.data) > travelled,
            within_s=30,
            explain=lambda: failures,
        )
        strike()
    finally:
        struck.set()
        job.join()
    assert not failures, failures


def test_a_connection_that_is_cut_for_a_moment_is_made_again(
    cluster: Distant, session: fg.Session
) -> None:
    def cut() -> None:
        for way in (cluster.control[0], cluster.data[0]):
            way.cut()
        threading.Event().wait(0.3)
        for way in (cluster.control[0], cluster.data[0]):
            way.mend()

    while_it_runs(cluster, session, cut)


def test_blocks_that_cannot_be_reached_are_computed_elsewhere(
    cluster: Distant, session: fg.Session
) -> None:
    try:
        while_it_runs(cluster, session, cluster.data[0].cut)
        assert executors(cluster) == 2, "only its blocks are out of reach"
    finally:
        cluster.data[0].mend()


@pytest.mark.parametrize("stalled", [Proxy.BOTH, (Proxy.THERE,), (Proxy.BACK,)], ids="+".join)
def test_an_executor_that_is_not_heard_or_hears_nothing_comes_back_as_another_one(
    cluster: Distant, session: fg.Session, stalled: tuple[str, ...]
) -> None:
    way, before = cluster.control[0], incarnations(cluster)

    def stall() -> None:
        way.stalled = stalled
        eventually("it counts as lost", lambda: not before <= incarnations(cluster), within_s=30)

    try:
        while_it_runs(cluster, session, stall)
    finally:
        way.stalled = ()


def test_a_holder_that_accepts_and_never_answers_is_given_up_and_nobody_is_lost(
    cluster: Distant, session: fg.Session, shared_premises: Premises
) -> None:
    """The link stays half-open for the whole job. That costs one patience of an executor and one of
    the driver at most, however many blocks and stages are behind it."""
    before, journal = incarnations(cluster), journal_of(shared_premises)
    given_up = fetches_failed(journal)
    cluster.data[0].stalled = Proxy.BOTH
    try:
        require_right(shuffled(session), within_s=2 * FETCH_PATIENCE_S + 10)
    finally:
        cluster.data[0].stalled = ()
    assert 1 <= fetches_failed(journal) - given_up <= 2
    assert incarnations(cluster) == before


def test_a_slow_way_makes_a_slow_job(cluster: Distant, session: fg.Session) -> None:
    for way in cluster.data:
        way.delay_s, way.bytes_per_s = 0.02, 4e6
    try:
        require_right(shuffled(session), within_s=30)
    finally:
        for way in cluster.data:
            way.delay_s, way.bytes_per_s = 0.0, None


def test_a_bad_line_all_the_time_loses_nobody(cluster: Distant, session: fg.Session) -> None:
    before = incarnations(cluster)
    for way in cluster.control:
        way.delay_s = 0.25  # there, and as much back
    for way in cluster.data:
        way.delay_s, way.bytes_per_s = 0.25, 1e6

    def breaks_again_and_again() -> None:
        for _ in range(3):
            for way in cluster.data:
                way.cut()
                threading.Event().wait(0.1)
                way.mend()
            threading.Event().wait(0.5)

    try:
        while_it_runs(cluster, session, breaks_again_and_again, within_s=60)
        assert incarnations(cluster) == before
    finally:
        for way in (*cluster.control, *cluster.data):
            way.delay_s, way.bytes_per_s = 0.0, None


def test_a_bit_that_flips_on_the_way_is_found(cluster: Distant, session: fg.Session) -> None:
    cluster.data[0].flips = cluster.data[1].flips = 1
    require_right(shuffled(session), within_s=30)
    assert cluster.data[0].flips == cluster.data[1].flips == 0, "nothing was flipped"


def test_a_job_that_waits_for_blocks_says_from_whom(cluster: Distant, session: fg.Session) -> None:
    def last_wait() -> Wait:
        (job,) = ask_status(cluster.address, None, 5.0).jobs
        return ask_why(cluster.address, None, 5.0, job.job)[-1]

    def stall() -> None:
        for way in cluster.data:
            way.stalled = Proxy.BOTH
        try:
            wait = eventually(
                "somebody waits for blocks",
                lambda: "0 B for" in last_wait().text and last_wait(),
                within_s=8,
                explain=last_wait,
            )
        finally:
            for way in cluster.data:
                way.stalled = ()
        assert isinstance(wait, Wait)
        assert wait.kind is WaitKind.ATTEMPT
        assert "reading what job-" in wait.text
        assert "wrote from executor-" in wait.text
        assert "given up in" in wait.text

    for way in cluster.data:
        way.bytes_per_s = 2e6  # so that there is a middle
    try:
        while_it_runs(cluster, session, stall)
    finally:
        for way in cluster.data:
            way.bytes_per_s = None
