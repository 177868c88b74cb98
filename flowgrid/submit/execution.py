"""A session's engine: from a logical plan to an answer.

The engine plans, submits the stages that can be decided, and plans on as they finish
(`flowgrid.physical.planner`). What only reading an answer needs is imported while the job runs.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from flowgrid.config import Config
from flowgrid.errors import JobError, OutputError
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.job_graph import StageSpec
from flowgrid.protocol.messages import JobFailed, JobSucceeded, StageSucceeded
from flowgrid.protocol.waits import JobStalled
from flowgrid.submit.client import Job, JobClient
from flowgrid.submit.failures import raise_failure
from flowgrid.submit.given_tables import GivenTables
from flowgrid.submit.local_cluster import LocalCluster
from flowgrid.submit.master import LocalMaster, Master, driver_of
from flowgrid.submit.notices import warn_stalled
from flowgrid.transport.security import Keys, Role

Identified: TypeAlias = Callable[[tuple[StageSpec, ...]], tuple[StageSpec, ...]]
"""Gives stages their identities, where a later run may ask for them."""

if TYPE_CHECKING:
    from flowgrid.io.commit import Staging
    from flowgrid.logical.nodes import Node, Write
    from flowgrid.physical.layout import Shape
    from flowgrid.physical.planner import Planner
    from flowgrid.protocol.fragment import SinkOutput
    from flowgrid.submit.results import Result


_ordinals = itertools.count()
"""Counts the sessions of this process."""


class Drawn(NamedTuple):
    """What decides how a job is done, and by what a later run finds it again."""

    number: int
    seed: int
    identified: Identified


class Engine:
    """Runs plans on one cluster. Safe to use from several threads: each `run` is a job."""

    def __init__(
        self,
        master: Master,
        cluster: LocalCluster | None,
        config: Config,
        name: str,
        keys: str | None,
    ) -> None:
        """`cluster` is the one that was started for a `LocalMaster`; from here on it is the engine's.

        Raises `ConfigError` for keys that cannot be used, `ConnectError` when nobody answers.
        """
        self._config = config
        self._name = name
        self._keys = Keys(Path(keys), Role.SUBMITTER) if keys else None
        self._numbers = itertools.count(1)
        self._ordinal = next(_ordinals)
        self._closing = threading.Lock()
        self._cluster = cluster
        self._slots: int | None = None
        self._changes: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
        if isinstance(master, LocalMaster):
            assert cluster is not None
            self._slots = master.executors * master.slots_per_executor
            self._tables = GivenTables(cluster.directory, None, None)
            self._client = JobClient(cluster.control_address, None, config, name, cluster.trouble)
        else:
            self._tables = GivenTables(None, _reachable(master.address), self._keys)
            self._client = JobClient.open(
                master.address, self._keys, config, name, driver=driver_of(master)
            )

    def run(self, plan: Node) -> Result:
        """The plan's answer, when the job is done. Raises `FlowGridError` if there is none."""
        from flowgrid.logical.nodes import Write
        from flowgrid.logical.schema import schema_of

        relation = plan.input if isinstance(plan, Write) else plan
        if self._slots != 1 or "duckdb" in sys.modules:
            schema_of(relation)  # what cannot mean anything is refused before a task runs
        try:
            return self._write(plan) if isinstance(plan, Write) else self._run(plan)
        except JobError as error:
            # One slot runs the plan as it is, so its kernel may be the first that looks at it.
            if error.kind == FailureKind.QUERY_ERROR:
                schema_of(relation)
            raise

    def _write(self, plan: Write) -> Result:
        from flowgrid.io import commit

        drawn = self._drawn()
        run, publication = self._publication(plan, drawn)
        with _refusals_of(plan.path):
            staging = commit.prepare(plan.path, plan.mode, run)
        try:
            result = self._run(plan, drawn, _sink(plan, staging))
            self._changes[plan.input] = self._changes[plan]
            with _refusals_of(plan.path):
                commit.commit(staging, result.files, plan.mode, publication)
        except BaseException:
            commit.abort(staging)
            raise
        return result

    def explain_stages(self, plan: Node) -> str:
        """The stages as they would be if every estimate were right."""
        from flowgrid.physical.rehearsal import rehearse
        from flowgrid.physical.shortcut import prepared

        known = prepared(plan, self._shape())
        return rehearse(known.plan, known.shape, known.note)

    def analyze(self, plan: Node) -> str:
        """The stages that the plan had when it ran just now, with what they wrote."""
        with self.run(plan) as result:
            changes = self.explain_changes(plan)
            return f"{result.stages}\n{changes}\nresult: {result.rows:,} rows"

    def explain_changes(self, plan: Node) -> str:
        """What real sizes changed when the plan ran last; "" if it has not run."""
        return self._changes.get(plan, "")

    def close(self) -> None:
        """End the session and, if it is ours, the cluster; called again it does nothing."""
        with self._closing:
            if self._cluster is not None:
                self._cluster.close()
            self._client.close()
            self._tables.close()

    def _shape(self) -> Shape:
        from flowgrid.physical.layout import Shape

        return Shape(self._slots or self._client.wait_for_slots(), self._config)

    def _run(
        self, plan: Node, drawn: Drawn | None = None, sink: SinkOutput | None = None
    ) -> Result:
        from flowgrid.physical.planner import Planner
        from flowgrid.physical.shortcut import prepared

        known = prepared(plan, self._shape())
        number, seed, identified = drawn or self._drawn()
        planner = Planner(known.plan, known.shape, self._tables.give, sink, seed, known.note)
        first = planner.advance()
        name = f"{self._name} {number}"
        job = self._client.submit(name, identified(first.stages), first.complete)
        try:
            import pyarrow  # noqa: F401, 0.1 s that the job takes anyway

            succeeded = _follow(job, planner, identified)
        except KeyboardInterrupt:
            job.cancel("interrupted")
            raise
        self._changes[plan] = planner.explain_changes()
        return self._result(job, succeeded, planner, identified)

    def _drawn(self) -> Drawn:
        """For the next job: in a later run of the program it is the same."""
        number, resume = next(self._numbers), self._config.resume_name
        if not resume:
            return Drawn(number, int.from_bytes(os.urandom(4)), tuple)
        from flowgrid.submit.identity import StageIdentities, seed_of  # few programs need it: 10 ms

        return Drawn(number, seed_of(resume, number), StageIdentities().identified)

    def _publication(self, plan: Write, drawn: Drawn) -> tuple[str, str]:
        """The run that this session is part of, and what the write is called in there; "" for both
        without a resume name."""
        if not self._config.resume_name:
            return "", ""
        from flowgrid.submit.identity import publication_of

        run = self._client.run
        return run, publication_of(run, self._ordinal, drawn.number, plan)

    def _result(
        self, job: Job, succeeded: JobSucceeded, planner: Planner, identified: Identified
    ) -> Result:
        from flowgrid.protocol.failures import Failure
        from flowgrid.submit.results import Result

        def recompute(failure: Failure) -> JobSucceeded:
            job.report_fetch_failed(failure)
            return _follow(job, planner, identified)

        return Result(succeeded, planner.book.measured(), self._keys, recompute, job.release)


def _reachable(scheduler: str) -> str:
    """An address of this machine, with any free port, on the network that leads to the scheduler."""
    there = urlsplit(scheduler)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((there.hostname, there.port))  # sends nothing: it only chooses a way
        return f"tcp://{probe.getsockname()[0]}:0"


def _sink(plan: Write, staging: Staging) -> SinkOutput:
    from flowgrid.protocol.fragment import SinkOutput

    return SinkOutput(plan.format, staging.url, plan.partition_by, dict(plan.options))


@contextlib.contextmanager
def _refusals_of(path: str) -> Iterator[None]:
    """What a file system refuses a driver is an error with a place and a way out."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write to {path}: {error}. Make room there, or choose another path; if it was "
            "committed already, `flowgrid clean` finishes it"
        ) from error


def _follow(job: Job, planner: Planner, identified: Identified) -> JobSucceeded:
    """Wait for the job's end, and let its graph grow meanwhile."""
    while True:
        match job.next_event():
            case JobSucceeded() as succeeded:
                return succeeded
            case JobFailed() as failed:
                raise_failure(failed)
            case JobStalled() as stalled:
                warn_stalled(job.name, stalled)
            case StageSucceeded(stage=stage, statistics=statistics):
                planner.finished(stage.number, statistics)
                step = planner.advance()
                if step.stages:
                    job.add_stages(identified(step.stages), step.complete)
