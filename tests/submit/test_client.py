"""A job's way from the driver's side: against a scripted scheduler, and against a real cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import zmq

from flowgrid.config import MIB, Config
from flowgrid.errors import ConnectError, JobCancelledError, NoExecutorsError
from flowgrid.ids import JobId, StageId
from flowgrid.protocol.codec import (
    driver_envelopes,
    fragments,
    task_inputs,
    to_driver_envelopes,
)
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.fragment import (
    BlocksOutput,
    Fragment,
    RangeLeaf,
    RangeSplit,
    SqlStep,
    TaskInputs,
)
from flowgrid.protocol.job_graph import OutputKind, StageOutputs, StageSpec, StageStatistics
from flowgrid.protocol.messages import (
    AddStages,
    CancelJob,
    CloseSession,
    FromDriver,
    JobAccepted,
    JobFailed,
    JobSucceeded,
    KeepAlive,
    OpenSession,
    ReleaseJob,
    SayAgain,
    SessionOpened,
    SessionRefused,
    StageProgressed,
    SubmitJob,
    ToDriver,
    ToDriverEnvelope,
)
from flowgrid.submit.client import Job, JobClient, ask_status
from flowgrid.submit.failures import raise_failure
from flowgrid.submit.local_cluster import LocalCluster
from flowgrid.submit.master import LocalMaster
from flowgrid.transport.sockets import bind_router

COVERS = ["connection"]

IMPATIENT = Config(submit_timeout_s=0.5)
DONE = JobSucceeded(JobId(1), StageOutputs(0, (), (), ()), StageStatistics((), ()))


class ScriptedScheduler:
    """A ROUTER that says what the test says."""

    def __init__(self, socket: zmq.Socket[bytes], address: str) -> None:
        self.socket = socket
        self.address = address
        self.heard = 0
        self.said = 0
        self.epoch = 1
        self._identity = b""
        self._words: list[FromDriver] = []

    def hear(self) -> FromDriver:
        """The driver's next word, signs of life left out."""
        while not self._words:
            assert self.socket.poll(5_000), "the driver says nothing"
            self._identity, payload = self.socket.recv_multipart()
            envelope = driver_envelopes.decode(payload)
            assert envelope.sequence == self.heard
            self.heard += 1
            self._words += [w for w in envelope.messages if not isinstance(w, KeepAlive)]
        return self._words.pop(0)

    def say(self, *words: ToDriver, epoch: int = 1, skip: int = 0, received: int = 0) -> None:
        if epoch != self.epoch:
            self.epoch, self.said = epoch, 0
        envelope = ToDriverEnvelope(epoch, self.said + skip, words, received)
        self.said += 1
        self.socket.send_multipart((self._identity, to_driver_envelopes.encode(envelope)))

    def open(self, slots: int = 2) -> None:
        assert isinstance(self.hear(), OpenSession)
        self.say(SessionOpened(epoch=1, executors=1, slots=slots))


@pytest.fixture
def scheduler() -> Iterator[ScriptedScheduler]:
    with zmq.Context() as context:
        socket, address = bind_router(context, "tcp://127.0.0.1:0", keys=None)
        with socket:
            yield ScriptedScheduler(socket, address)


def client_of(
    scheduler: ScriptedScheduler,
    config: Config | None = None,
    watch: Callable[[], str | None] = lambda: None,
) -> JobClient:
    return JobClient(scheduler.address, None, config or Config(), "test", watch)


def test_a_job_is_followed_to_its_end(scheduler: ScriptedScheduler) -> None:
    with client_of(scheduler) as client:
        job = client.submit("q", (), complete=True)
        scheduler.open(slots=4)
        submitted = scheduler.hear()
        assert isinstance(submitted, SubmitJob)
        progress = StageProgressed(StageId(1, 0), "scan", tasks=2, running=1, succeeded=1)
        scheduler.say(JobAccepted(submitted.request, JobId(1)), progress)
        scheduler.say(DONE)

        assert job.id == JobId(1)
        assert [job.next_event(5), job.next_event(5)] == [progress, DONE]
        assert client.slots == 4
    assert isinstance(scheduler.hear(), CloseSession)


def test_what_is_said_of_a_job_before_it_has_a_name_is_said_later(
    scheduler: ScriptedScheduler,
) -> None:
    with client_of(scheduler) as client:
        job = client.submit("q", (), complete=False)
        job.add_stages((), complete=True)
        job.cancel("Ctrl-C")
        job.release()
        scheduler.open()
        submitted = scheduler.hear()
        assert isinstance(submitted, SubmitJob)
        scheduler.say(JobAccepted(submitted.request, JobId(1)))

        assert scheduler.hear() == AddStages(JobId(1), (), complete=True)
        assert scheduler.hear() == CancelJob(JobId(1), "Ctrl-C")
        assert scheduler.hear() == ReleaseJob(JobId(1))


def test_jobs_hear_of_themselves_only(scheduler: ScriptedScheduler) -> None:
    with client_of(scheduler) as client:
        first, second = (client.submit(name, (), complete=True) for name in "ab")
        scheduler.open()
        for number in (1, 2):
            submitted = scheduler.hear()
            assert isinstance(submitted, SubmitJob)
            scheduler.say(JobAccepted(submitted.request, JobId(number)))
        scheduler.say(DONE)

        assert first.next_event(5) == DONE
        with pytest.raises(TimeoutError):
            second.next_event(0.05)
        second.cancel("not needed")
        assert scheduler.hear() == CancelJob(JobId(2), "not needed")


def test_nobody_there_is_said_with_the_address() -> None:
    with pytest.raises(ConnectError, match=r"tcp://127\.0\.0\.1:1 within 0\.5 s"):
        JobClient.open("tcp://127.0.0.1:1", None, IMPATIENT, "test")


def test_a_refusal_is_told_in_the_schedulers_words(scheduler: ScriptedScheduler) -> None:
    with client_of(scheduler) as client:
        scheduler.hear()
        scheduler.say(SessionRefused("pyarrow 1 here, 26 there"))

        with pytest.raises(ConnectError, match="pyarrow 1 here, 26 there"):
            client.wait_until_open()


@pytest.mark.parametrize(
    ("word", "how", "message"),
    [((), {"skip": 1}, "was lost"), ((SayAgain(0),), {"epoch": 2}, "started anew")],
    ids=["gap", "forgotten"],
)
def test_who_waits_is_told_when_the_link_is_broken(
    word: tuple[ToDriver, ...], how: dict[str, int], message: str, scheduler: ScriptedScheduler
) -> None:
    with client_of(scheduler) as client:
        job = client.submit("q", (), complete=True)
        scheduler.open()
        scheduler.hear()
        scheduler.say(received=2)
        scheduler.say(*word, **how)

        for _ in range(2):  # and whoever asks again
            with pytest.raises(ConnectError, match=message):
                job.next_event(5)
        with pytest.raises(ConnectError, match=message):
            client.submit("r", (), complete=True)


def test_a_scheduler_that_was_started_again_hears_what_its_log_does_not_have(
    scheduler: ScriptedScheduler,
) -> None:
    with client_of(scheduler) as client:
        job = client.submit("q", (), complete=True)
        scheduler.open()
        submitted = scheduler.hear()
        assert isinstance(submitted, SubmitJob)
        scheduler.heard = 0
        scheduler.say(SayAgain(0), SessionOpened(2, 1, 2), epoch=2)
        scheduler.open()
        assert scheduler.hear() == submitted

        accepted = JobAccepted(submitted.request, JobId(1))
        scheduler.say(accepted, DONE, epoch=2)
        scheduler.say(SayAgain(2), accepted, DONE, epoch=3, received=2)
        scheduler.say(JobFailed(JobId(1), Failure(FailureKind.CANCELLED, "")), epoch=3)
        events = [job.next_event(5), job.next_event(5)]
        assert events[0] == DONE
        assert isinstance(events[1], JobFailed), "the answer was told once"


def test_a_silent_scheduler_is_gone(scheduler: ScriptedScheduler) -> None:
    with client_of(scheduler, IMPATIENT) as client:
        job = client.submit("q", (), complete=True)
        scheduler.open()

        with pytest.raises(ConnectError, match="is gone"):
            job.next_event(5)


def test_words_that_are_not_ours_end_the_session(scheduler: ScriptedScheduler) -> None:
    with client_of(scheduler) as client:
        scheduler.hear()
        scheduler.socket.send_multipart((scheduler._identity, b"HTTP/1.1 400"))

        with pytest.raises(ConnectError, match="does not speak our protocol"):
            client.wait_until_open()


def test_a_scheduler_process_that_ends_is_noticed_without_a_word(
    scheduler: ScriptedScheduler,
) -> None:
    ended = threading.Event()

    def watch() -> str | None:
        return "its process has ended" if ended.is_set() else None

    with client_of(scheduler, watch=watch) as client:
        job = client.submit("q", (), complete=True)
        scheduler.open()
        ended.set()

        with pytest.raises(ConnectError, match="its process has ended"):
            job.next_event(5)


def test_closing_wakes_who_waits(scheduler: ScriptedScheduler) -> None:
    client = client_of(scheduler)
    job = client.submit("q", (), complete=True)
    threading.Timer(0.1, client.close).start()

    with pytest.raises(ConnectError, match="closed"):
        job.next_event(5)


def test_too_few_slots_are_counted(scheduler: ScriptedScheduler) -> None:
    with client_of(scheduler) as client:
        scheduler.open(slots=2)
        assert client.wait_for_slots(2) == 2

        with pytest.raises(NoExecutorsError, match="2 of 3 slots"):
            client.wait_for_slots(3, timeout=0.05)


# -- with a real cluster ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    cluster = LocalCluster.start(LocalMaster(2, 1, 1, 256 * MIB), Config())
    yield cluster
    cluster.close()


def squares(partitions: int, sql: str = 'SELECT n * n AS n2 FROM "numbers"') -> StageSpec:
    fragment = Fragment(
        leaves=(RangeLeaf("numbers", "n"),),
        steps=(SqlStep("squares", sql),),
        output=BlocksOutput(1, "single"),
    )
    inputs = [TaskInputs({"numbers": (RangeSplit(0, 1_000, 1),)}) for _ in range(partitions)]
    return StageSpec(
        number=0,
        label="squares",
        partition_count=partitions,
        output=OutputKind.BLOCKS,
        payload=fragments.encode(fragment),
        tasks=tuple(task_inputs.encode(one) for one in inputs),
    )


def end_of(job: Job) -> JobSucceeded | JobFailed:
    while True:
        event = job.next_event(60)
        if isinstance(event, JobSucceeded | JobFailed):
            return event


@pytest.mark.cluster
def test_a_cluster_runs_a_job(cluster: LocalCluster) -> None:
    with JobClient(cluster.control_address, None, Config(), "t", cluster.failure) as client:
        job = client.submit("squares", [squares(4)], complete=True)

        end = end_of(job)

        assert isinstance(end, JobSucceeded), end
        assert end.statistics.total_rows == 4_000
        assert client.status().jobs[0].name == "squares"
        job.release()


@pytest.mark.cluster
def test_a_cancelled_job_says_so(cluster: LocalCluster) -> None:
    slow = 'SELECT count(*) FROM "numbers" a, range(10_000_000) b, range(1_000) c WHERE a.n + 1 > 0'
    with JobClient.open(cluster.control_address, None, Config(), "t", cluster.failure) as client:
        job = client.submit("slow", [squares(1, slow)], complete=True)
        while not isinstance(progress := job.next_event(60), StageProgressed) or (
            progress.running == 0
        ):
            pass

        job.cancel("enough")

        failed = end_of(job)
        assert isinstance(failed, JobFailed)
        with pytest.raises(JobCancelledError, match="enough"):
            raise_failure(failed)


@pytest.mark.cluster
def test_an_observer_needs_no_session(cluster: LocalCluster) -> None:
    status = ask_status(cluster.control_address, None, timeout_s=30)

    assert status.epoch > 0
    with pytest.raises(ConnectError, match="no scheduler answered"):
        ask_status("tcp://127.0.0.1:1", None, timeout_s=0.1)
