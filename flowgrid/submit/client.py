"""Hand a job graph in, follow it, let it grow, cancel it.

A `JobClient` may be used by several threads; every job has its own queue of events, which one thread
reads. Everything that waits ends with a `ConnectError` when the scheduler is gone.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import zmq

from flowgrid.closing import Closing
from flowgrid.config import Config
from flowgrid.errors import ConnectError, NoExecutorsError
from flowgrid.ids import DriverId, JobId
from flowgrid.protocol.codec import driver_envelopes, to_driver_envelopes
from flowgrid.protocol.departures import (
    DecommissionAnswered,
    DecommissionExecutor,
    ExecutorExcluded,
    ExecutorReadmitted,
)
from flowgrid.protocol.failures import Failure
from flowgrid.protocol.job_graph import StageSpec
from flowgrid.protocol.messages import (
    AddStages,
    AskStatus,
    CancelJob,
    ClusterChanged,
    ClusterStatus,
    DriverEnvelope,
    FromDriver,
    JobAccepted,
    JobFailed,
    JobSucceeded,
    ReleaseJob,
    ReportFetchFailed,
    SayAgain,
    SessionOpened,
    SessionRefused,
    StageProgressed,
    StageSucceeded,
    SubmitJob,
    ToDriver,
)
from flowgrid.protocol.programs import ProgramRefused, ProgramStatus
from flowgrid.protocol.waits import AskWhy, JobStalled, JobWaits, Wait
from flowgrid.submit.connection import Connection
from flowgrid.transport.security import Keys
from flowgrid.transport.sockets import connect_dealer

JobEvent: TypeAlias = StageSucceeded | StageProgressed | JobStalled | JobSucceeded | JobFailed

Answer = TypeVar("Answer", ClusterStatus, JobWaits, DecommissionAnswered)


class Job:
    """One submitted job. Made by `JobClient.submit`."""

    def __init__(self, client: JobClient, name: str) -> None:
        self.name = name
        self._client = client
        self._id: JobId | None = None
        self._unsent: list[Callable[[JobId], FromDriver]] = []
        """What was said before the scheduler gave the job its name."""
        self._released = False
        self._answer: JobSucceeded | None = None
        """As it was told last, and not complained of."""
        self._events: queue.SimpleQueue[JobEvent | None] = queue.SimpleQueue()

    @property
    def id(self) -> JobId:
        """The scheduler's name for it; waits until the job is accepted. Raises `ConnectError`."""
        self._client._wait(lambda: self._id is not None, f"job {self.name!r} was not accepted")
        assert self._id is not None
        return self._id

    def add_stages(self, stages: Sequence[StageSpec], complete: bool) -> None:
        """Let the graph grow; `complete` says that these are the last stages."""
        self._client._tell(self, lambda id_: AddStages(id_, tuple(stages), complete))

    def next_event(self, timeout: float | None = None) -> JobEvent:
        """What happened next. Raises `TimeoutError` after `timeout` seconds, or `ConnectError`."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"nothing happened to job {self.name!r} for {timeout} s") from None
        if event is None:
            self._events.put(None)  # for whoever asks again
            raise self._client._why_lost()
        return event

    def cancel(self, reason: str) -> None:
        """Stop it; `next_event` will say that it failed, as cancelled."""
        self._client._tell(self, lambda id_: CancelJob(id_, reason))

    def report_fetch_failed(self, failure: Failure) -> None:
        """A block of the result could not be read: the job goes on and succeeds again."""
        self._answer = None
        self._client._tell(self, lambda id_: ReportFetchFailed(id_, failure))

    def release(self) -> None:
        """Forget the job, here and in the cluster: its blocks may go, and no event will come."""
        self._client._release(self)


class JobClient(Closing):
    """A driver's session with a cluster."""

    def __init__(
        self,
        address: str,
        keys: Keys | None,
        config: Config,
        name: str,
        watch: Callable[[], str | None] = lambda: None,
        driver: DriverId | None = None,
    ) -> None:
        """Starts to connect and returns at once: what is sent meanwhile is queued.

        `watch` is asked now and then why the scheduler is of no use any more (None while it is);
        `driver` is what the scheduler calls us, if the cluster itself runs us.
        Raises `ConfigError` for keys that cannot be used.
        """
        self._config = config
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._opened: SessionOpened | ClusterChanged | None = None
        self._run = ""
        self._lost: ConnectError | None = None
        self._requests = 0
        self._pending: dict[int, Job] = {}
        self._jobs: dict[JobId, Job] = {}
        self._status: ClusterStatus | None = None
        self._connection = Connection(
            address, keys, config, name, self._received, self._was_lost, watch, driver
        )

    @classmethod
    def open(
        cls,
        address: str,
        keys: Keys | None,
        config: Config,
        name: str,
        watch: Callable[[], str | None] = lambda: None,
        driver: DriverId | None = None,
    ) -> JobClient:
        """A client whose session is open. Raises `ConnectError` after ``submit.timeout_s``."""
        client = cls(address, keys, config, name, watch, driver)
        try:
            client.wait_until_open()
        except BaseException:
            client.close()
            raise
        return client

    @property
    def address(self) -> str:
        return self._connection.address

    @property
    def slots(self) -> int:
        """Slots of the cluster now, as far as we have heard; 0 before the session is open."""
        return self._opened.slots if self._opened is not None else 0

    @property
    def run(self) -> str:
        """The run that this session is part of, if it has a resume name; waits until it is open."""
        self.wait_until_open()
        return self._run

    def wait_until_open(self) -> None:
        """Raises `ConnectError` when nobody answers or we are refused."""
        self._wait(lambda: self._opened is not None, "no session was opened")

    def wait_for_slots(self, count: int = 1, timeout: float | None = None) -> int:
        """Wait until the cluster has so many slots; returns how many it has.

        Raises `NoExecutorsError` after `timeout` seconds (by default ``submit.timeout_s``).
        """
        timeout_s = self._config.submit_timeout_s if timeout is None else timeout
        if not self._wait_until(lambda: self.slots >= count, timeout_s):
            raise NoExecutorsError(
                f"the cluster at {self.address} has {self.slots} of {count} slots after "
                f"{timeout_s:g} s; start executors with `flowgrid executor --scheduler …`",
                kind="no_executors",
            )
        return self.slots

    def submit(self, name: str, stages: Sequence[StageSpec], complete: bool) -> Job:
        """Hand in a job with its first stages; returns at once."""
        with self._changed:
            self._requests += 1
            request = self._requests
            job = self._pending[request] = Job(self, name)
            if self._lost is not None:
                job._events.put(None)
        self._send(SubmitJob(request, name, tuple(stages), complete))
        return job

    def status(self) -> ClusterStatus:
        """The cluster as the scheduler sees it now. Raises `ConnectError`."""
        before = self._status
        self._send(AskStatus())
        self._wait(lambda: self._status is not before, "the status was not told")
        assert self._status is not None
        return self._status

    def close(self) -> None:
        """End the session; jobs that run are cancelled, and who waits gets a `ConnectError`."""
        if os.getpid() != self._pid:
            return
        self._connection.close()
        self._was_lost(ConnectError("the session is closed"))

    # -- for jobs ----------------------------------------------------------------------------------

    def _send(self, message: FromDriver) -> None:
        if os.getpid() != self._pid:
            raise ConnectError(
                "a forked process cannot use its parent's session; connect again in the child"
            )
        if self._lost is not None:
            raise self._why_lost()
        self._connection.send(message)

    def _tell(self, job: Job, word: Callable[[JobId], FromDriver]) -> None:
        with self._changed:
            if job._id is None:
                job._unsent.append(word)
                return
        self._send(word(job._id))

    def _release(self, job: Job) -> None:
        if self._lost is None and os.getpid() == self._pid and not job._released:
            self._tell(job, ReleaseJob)
            with self._changed:
                job._released = True
                if job._id is not None:
                    self._jobs.pop(job._id, None)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        timeout_s = self._config.submit_timeout_s
        # A scheduler that is silent for so long is found by the connection, which knows more.
        if not self._wait_until(condition, timeout_s + 1.0):
            raise ConnectError(f"{what} by {self.address} within {timeout_s:g} s")

    def _wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                if self._lost is not None:
                    raise self._why_lost()
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    return condition()
        return True

    def _why_lost(self) -> ConnectError:
        return ConnectError(str(self._lost))  # a fresh one: each has the traceback of its raise

    # -- in the connection's thread ----------------------------------------------------------------

    def _received(self, message: ToDriver) -> None:
        match message:
            case SessionRefused():
                raise ConnectError(f"the scheduler at {self.address} refused us: {message.reason}")
            case StageSucceeded() | StageProgressed():
                self._happened(JobId(message.stage.job), message)
            case JobStalled() | JobSucceeded() | JobFailed():
                self._happened(message.job, message)
            case JobWaits() | DecommissionAnswered() | ProgramStatus() | ProgramRefused():
                pass  # the answer to a question that sessions do not ask
            case SayAgain():
                pass  # the link's business
            case _:
                with self._changed:
                    self._note(message)
                    self._changed.notify_all()

    def _note(
        self,
        message: SessionOpened
        | ClusterChanged
        | ExecutorExcluded
        | ExecutorReadmitted
        | JobAccepted
        | ClusterStatus,
    ) -> None:
        match message:
            case SessionOpened():
                self._opened, self._run = message, message.run
            case ClusterChanged():
                self._opened = message
            case JobAccepted():
                job = self._pending.pop(message.request, None)
                if job is None:
                    return  # the scheduler's successor says it again
                job._id = message.job
                if not job._released:
                    self._jobs[message.job] = job
                if job._unsent:
                    self._connection.send(*(word(message.job) for word in job._unsent))
            case ClusterStatus():
                self._status = message
            case ExecutorExcluded():
                _log(
                    f"executor {message.executor} gets no new attempts for {message.duration_s:g} s: "
                    f"{message.reason}"
                )
            case ExecutorReadmitted():
                _log(f"executor {message.executor} gets new attempts again")

    def _happened(self, id_: JobId, event: JobEvent) -> None:
        job = self._jobs.get(id_)
        if job is None:
            return  # it was released meanwhile
        if isinstance(event, JobSucceeded):
            if event == job._answer:
                return  # the scheduler's successor says it again
            job._answer = event
        job._events.put(event)

    def _was_lost(self, error: ConnectError) -> None:
        with self._changed:
            self._lost = self._lost or error
            for job in (*self._pending.values(), *self._jobs.values()):
                job._events.put(None)
            self._changed.notify_all()


def _log(text: str) -> None:
    """For people who did not ask; rare enough that only then logging is imported."""
    import logging

    logging.getLogger("flowgrid").warning(text)


def ask_status(address: str, keys: Keys | None, timeout_s: float) -> ClusterStatus:
    """A cluster's status, for an observer without a session. Raises `ConnectError`."""
    return _ask(address, keys, timeout_s, AskStatus(), ClusterStatus)


def ask_why(address: str, keys: Keys | None, timeout_s: float, job: JobId) -> tuple[Wait, ...]:
    """The chain of what a job waits for; none if there is no such job. Raises `ConnectError`."""
    return _ask(address, keys, timeout_s, AskWhy(job), JobWaits).waits


def decommission(
    address: str, keys: Keys | None, timeout_s: float, executor: str
) -> DecommissionAnswered:
    """Let an executor leave, when its work is done and its blocks are moved. Raises `ConnectError`."""
    return _ask(address, keys, timeout_s, DecommissionExecutor(executor), DecommissionAnswered)


def _ask(
    address: str, keys: Keys | None, timeout_s: float, question: FromDriver, answer: type[Answer]
) -> Answer:
    with zmq.Context() as context:
        with connect_dealer(context, address, os.urandom(16), keys) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.send(driver_envelopes.encode(DriverEnvelope("", 0, (question,))))
            deadline = time.monotonic() + timeout_s
            while socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                for message in to_driver_envelopes.decode(socket.recv()).messages:
                    if isinstance(message, answer):
                        return message
        raise ConnectError(
            f"no scheduler answered at {address} within {timeout_s:g} s: is one running there "
            "(`flowgrid scheduler`), and are the keys those of its cluster?"
        )
