"""A scheduler goes on where another one died: whom it believes, what it runs again, what it tells."""

from __future__ import annotations

from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.snapshots import ATTEMPTS_PER_LIFE, snapshot
from flowgrid_scheduler.waiting import why

from flowgrid.config import Config
from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.messages import (
    AttemptSucceeded,
    CallRoll,
    CancelAttempts,
    DropAttempts,
    DropJob,
    ExecutorRegistered,
    Fence,
    Heartbeat,
    JobAccepted,
    JobFailed,
    JobSucceeded,
    KeepAlive,
    RegisterExecutor,
    SayAgain,
    SessionOpened,
    StageSucceeded,
    SubmitJob,
)
from flowgrid.protocol.reports import HeldAttempt
from tests.scheduler.story import (
    SESSION,
    VERSIONS,
    Story,
    address,
    executor_id,
    launches,
    maps,
    one_to_one,
    sent_to_drivers,
    sent_to_executors,
    shuffle,
)

EPOCH = 2


class NextLife(Story):
    """What happens to the scheduler that goes on with the log of the one of an earlier story."""

    def __init__(self, before: Story) -> None:
        super().__init__(before.config)
        facts = sorted(snapshot(before.core.state).items())
        self.core = SchedulerCore(self.config, ClusterIdentity(EPOCH, VERSIONS), facts)
        self.before = before
        received = before.core.state.sessions.received(SESSION)
        self._sent[SESSION] = received

    def held(self, name: str) -> list[HeldAttempt]:
        """What the log says that an executor holds, as an honest executor would say it."""
        claims = []
        for job in self.before.core.state.jobs.values():
            for stage in job.stages:
                for partition, number in enumerate(stage.blocks.attempts):
                    if number < 0:
                        continue
                    attempt = AttemptId(job.id.number, stage.id.number, partition, number)
                    holder = stage.blocks.holders[partition]
                    if self.before.core.state.executors.address_of(holder).executor.name == name:
                        claims.append(self.claim(attempt))
        return claims

    def claim(self, attempt: AttemptId, finished: bool = True) -> HeldAttempt:
        job = self.before.core.state.jobs[attempt.job]
        edges = job.stages[attempt.stage].spec.inputs
        reads = tuple(
            job.stages[edge.stage].blocks.attempts_in(
                edge.slices[attempt.partition] if edge.slices is not None else None
            )
            for edge in edges
        )
        return HeldAttempt(attempt, reads, self.before.report(attempt) if finished else None)

    def answers(self, name: str, *held: HeldAttempt, slots: int = 2) -> list[Action]:
        self._sent.pop(executor_id(name), None)
        place = address(executor_id(name))
        return self.executor_says(
            name, RegisterExecutor(place, slots, 1 << 30, VERSIONS, EPOCH, held)
        )


def half_done() -> Story:
    """Two executors, each with one of two finished maps; both reduces run."""
    story = Story.with_defaults().joins("a", "b", slots=1)
    story.submits(*shuffle(2, 2))
    story.finishes_stage(0)
    story.starts(*story.launched(1))
    return story


def attempts_of(actions: list[Action], stage: int) -> list[tuple[int, int]]:
    return [(a.partition, a.number) for a in launches(actions) if a.stage == stage]


def test_finished_stages_are_not_run_again() -> None:
    life = NextLife(half_done())
    assert launches(life.answers("a", *life.held("a"), slots=1)) == []
    actions = life.answers("b", *life.held("b"), slots=1)
    again = [(p, ATTEMPTS_PER_LIFE) for p in range(2)]
    assert sorted(attempts_of(actions, 1)) == again
    assert attempts_of(actions, 0) == []


def test_a_stranger_in_the_dead_schedulers_numbers_is_asked_who_it_is() -> None:
    life = NextLife(half_done())
    life._sent[executor_id("a")] = 17
    asked = life.executor_says("a", KeepAlive())
    assert sent_to_executors(asked, CallRoll) == [("a", CallRoll())]
    assert life.happens(Heartbeat(executor_id("a"), 18, 3)) == []
    assert sent_to_executors(life.answers("a"), ExecutorRegistered)


def test_an_answer_to_another_scheduler_is_none() -> None:
    life = NextLife(half_done())
    register = RegisterExecutor(address(executor_id("a")), 1, 1 << 30, VERSIONS, EPOCH + 1)
    assert sent_to_executors(life.executor_says("a", register), CallRoll)
    assert executor_id("a") in life.core.state.executors.awaited


def test_nothing_is_launched_until_everybody_has_come_or_is_given_up() -> None:
    life = NextLife(half_done())
    life.answers("a", *life.held("a"), slots=1)
    life._awake.append("a")
    assert launches(life.time_passes(life.config.scheduler_roll_call_s)) == []
    actions = life.time_passes(1.0)
    assert len(attempts_of(actions, 0)) == 1, "the map that only b had"
    assert executor_id("b") in life.core.state.executors.departed


def test_who_asks_why_hears_for_whom_the_roll_waits() -> None:
    life = NextLife(half_done())
    life.answers("a", *life.held("a"), slots=1)
    *_, last = why(life.core.state, JobId(1))
    assert "waits for b to come back to the scheduler that was started anew" in last.text
    assert last.deadline_s == life.config.scheduler_roll_call_s


def test_a_new_incarnation_in_an_old_place_ends_the_wait() -> None:
    life = NextLife(half_done())
    life.answers("a", *life.held("a"), slots=1)
    old = address(executor_id("b"))
    place = address(executor_id("c"))
    again = type(old)(place.executor, old.host, old.directory, old.data_address)
    actions = life.executor_says("c", RegisterExecutor(again, 1, 1 << 30, VERSIONS))
    assert len(attempts_of(actions, 0)) == 1


def test_a_block_that_is_not_there_is_made_again() -> None:
    life = NextLife(half_done())
    life.answers("a", *life.held("a"), slots=1)
    actions = life.answers("b", slots=1)
    assert len(attempts_of(actions, 0)) == 1


def test_a_block_of_another_size_is_not_what_the_log_means() -> None:
    life = NextLife(half_done())
    life.answers("a", *life.held("a"), slots=1)
    (claim,) = life.held("b")
    other = HeldAttempt(claim.attempt, claim.reads, life.before.report(claim.attempt, rows=3))
    actions = life.answers("b", other, slots=1)
    assert sent_to_executors(actions, DropAttempts) == [("b", DropAttempts((claim.attempt,)))]
    assert len(attempts_of(actions, 0)) == 1


def test_an_attempt_that_runs_goes_on() -> None:
    before = half_done()
    running = {before.live[attempt]: attempt for attempt in before.launched(1)}
    life = NextLife(before)
    for name, attempt in running.items():
        claims = (*life.held(name), life.claim(attempt, finished=False))
        assert launches(life.answers(name, *claims, slots=1)) == []
    for name, attempt in running.items():
        done = life.executor_says(name, AttemptSucceeded(attempt, before.report(attempt)))
    assert sent_to_drivers(done, JobSucceeded)


def test_an_attempt_that_ended_while_nobody_listened_counts() -> None:
    before = half_done()
    running = {before.live[attempt]: attempt for attempt in before.launched(1)}
    life = NextLife(before)
    for name, attempt in running.items():
        actions = life.answers(name, *life.held(name), life.claim(attempt), slots=1)
    assert sent_to_drivers(actions, JobSucceeded)
    assert launches(actions) == []


def test_an_attempt_that_reads_what_is_not_read_any_more_is_stopped() -> None:
    before = Story.with_defaults().joins("a", slots=2)
    first = maps(1)
    before.submits(first, one_to_one(first))
    before.finishes_stage(0)
    (reader,) = before.launched(1)
    life = NextLife(before)
    old = HeldAttempt(reader, ((7,),))
    actions = life.answers("a", *life.held("a"), old)
    assert sent_to_executors(actions, CancelAttempts) == [("a", CancelAttempts((reader,)))]
    assert attempts_of(actions, 1) == [(0, ATTEMPTS_PER_LIFE)]


def test_what_belongs_to_no_job_any_more_is_dropped() -> None:
    life = NextLife(half_done())
    stray = HeldAttempt(AttemptId(99, 0, 0, 0), ())
    actions = life.answers("a", stray)
    assert sent_to_executors(actions, DropJob) == [("a", DropJob(JobId(99)))]


def test_who_was_lost_before_stays_lost() -> None:
    before = half_done()
    before.falls_silent("b")
    before.forgets("b")
    before.time_passes(before.config.executor_heartbeat_timeout_s + 1)
    life = NextLife(before)
    assert sent_to_executors(life.answers("b"), Fence)


# -- drivers ---------------------------------------------------------------------------------------


def test_a_driver_is_told_again_what_it_may_not_have_heard() -> None:
    life = NextLife(half_done())
    words = [action.message for action in life.driver_says(KeepAlive())]
    assert words[:3] == [SayAgain(2, heard=2), SessionOpened(EPOCH, 2, 2), JobAccepted(0, JobId(1))]
    assert [type(word) for word in words[3:]] == [StageSucceeded]


def test_a_failure_that_nobody_heard_of_is_told_with_its_job() -> None:
    before = Story(Config.parse({"task.attempts_max": 1}))
    before.joins("a").submits(maps(1))
    before.fails(before.launched(0)[0], FailureKind.DISK_FULL)
    words = [action.message for action in NextLife(before).driver_says(KeepAlive())]
    assert words[2:] == [JobAccepted(0, JobId(1)), before.failure()]
    assert isinstance(words[3], JobFailed)


def test_words_that_the_log_does_not_have_must_come_before_later_ones() -> None:
    life = NextLife(half_done())
    lost = SubmitJob(9, "lost with the scheduler", (maps(1),), True)
    life._sent[SESSION] += 1
    assert sent_to_drivers(life.driver_says(KeepAlive()), SayAgain) == [SayAgain(2, heard=3)]
    again = life.driver_says(KeepAlive())
    assert [action.message for action in again] == [SayAgain(2, heard=4)]
    life._sent[SESSION] = 2
    accepted = sent_to_drivers(life.driver_says(lost), JobAccepted)
    assert accepted == [JobAccepted(9, JobId(2))]


def test_an_answer_that_was_lost_is_made_again_and_then_told() -> None:
    before = Story.with_defaults().joins("a")
    before.submits(maps(1))
    before.finishes_stage(0)
    life = NextLife(before)
    assert attempts_of(life.answers("a"), 0) == []
    actions = life.driver_says(KeepAlive())
    assert not sent_to_drivers(actions, JobSucceeded)
    assert attempts_of(actions, 0) == [(0, ATTEMPTS_PER_LIFE)]


def test_a_driver_that_does_not_come_back_loses_its_jobs() -> None:
    life = NextLife(half_done())
    life.answers("a", *life.held("a"), slots=1)
    life.time_passes(life.config.scheduler_driver_lease_s + 1, driver_alive=False)
    assert not life.core.state.jobs
