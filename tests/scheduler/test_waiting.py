"""What a job waits for: every state has a sentence that ends with whoever acts next."""

from __future__ import annotations

from flowgrid_scheduler.events import ExecutorUnreachable
from flowgrid_scheduler.waiting import why

from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.messages import (
    CancelAttempts,
    DriverEnvelope,
    Heartbeat,
)
from flowgrid.protocol.waits import AskWhy, AttemptProgress, JobWaits, Wait, WaitKind, sentence
from tests.scheduler.story import (
    IDENTITY,
    JOB,
    Story,
    executor_id,
    maps,
    reduces,
    sent_to_drivers,
    shuffle,
)


def waits(story: Story) -> tuple[Wait, ...]:
    return why(story.core.state, JOB)


def text(story: Story) -> str:
    return sentence(waits(story))


def beats(story: Story, name: str, *running: AttemptProgress) -> None:
    id_ = executor_id(name)
    story.happens(Heartbeat(id_, story._sent[id_], 0, 0, running))


def test_a_job_that_nobody_knows_waits_for_nothing(story: Story) -> None:
    assert why(story.core.state, JobId(99)) == ()


def test_the_chain_leads_from_the_last_stage_to_the_task_that_runs(story: Story) -> None:
    first, second = shuffle(2, 2)
    story.joins("a").submits(first, second)
    story.starts(*story.launched(0))

    chain = waits(story)

    assert [wait.kind for wait in chain] == [WaitKind.STAGE, WaitKind.STAGE, WaitKind.ATTEMPT]
    assert [wait.text for wait in chain[:2]] == [
        "job-1 waits for stage 1 'reduces 1'",
        "stage 1 'reduces 1' waits for stage 0 'maps 0'",
    ]
    assert chain[2].text.startswith("stage 0 'maps 0' has 0 of 2 tasks and waits for task 0 (and 1")
    assert chain[2].owner == "executor a"
    assert chain[2].deadline_s == story.config.executor_heartbeat_timeout_s


def test_a_task_that_reads_says_from_whom_and_when_it_gives_up(story: Story) -> None:
    first = maps(1)
    story.joins("a", "b", slots=1).submits(first, reduces(1, first))
    story.finishes_stage(0)
    (attempt,) = story.launched(1)
    reader = story.live[attempt]
    story.starts(attempt)
    producer = AttemptId(1, 0, 0, 0)

    beats(story, reader, AttemptProgress(attempt, 40.0, 3 << 20, 3.5, producer, "e9", 10.0))

    assert (
        f"task 0, running on {reader} for 40 s, reading what job-1/stage-0/task-0#0 wrote from e9, "
        f"0 B for 3.5 s after 3.0 MiB, given up in 6.5 s; {reader} was heard 0.0 s ago"
    ) in text(story)


def test_of_several_tasks_the_one_that_runs_longest_is_named(story: Story) -> None:
    story.joins("a").submits(maps(2))
    attempts = story.launched(0)
    story.starts(*attempts)
    beats(story, "a", AttemptProgress(attempts[0], 2.0), AttemptProgress(attempts[1], 40.0))
    assert "task 1 (and 1 more that run), running on a for 40 s, computing" in text(story)


def test_a_task_in_a_backlog_says_what_is_before_it(story: Story) -> None:
    story.joins("a", slots=1).submits(maps(1))
    story.starts(*story.launched(0))
    story.submits(maps(1))
    (wait,) = why(story.core.state, JobId(2))[1:]
    assert wait.kind is WaitKind.BACKLOG
    assert wait.attempt == AttemptId(2, 0, 0, 0)
    assert (
        "task 0, in the backlog of a, behind job-1/stage-0/task-0#0 (a for a moment)" in wait.text
    )


def test_a_task_without_any_place_says_who_takes_them(story: Story) -> None:
    story.joins("a", slots=1).submits(maps(2))
    story.starts(story.launched(0)[0])
    story.submits(maps(1))
    (wait,) = why(story.core.state, JobId(2))[1:]
    assert wait.kind is WaitKind.SLOT
    assert "one of 1 slots, for which there are 2 attempts, behind job-1/stage-0/" in wait.text


def test_an_executor_that_gets_no_new_attempts_is_named(story: Story) -> None:
    story.joins("a", "b", slots=1)
    (excluded,) = (e for e in story.core.state.executors.alive.values() if e.id.name == "b")
    excluded.excluded, excluded.excluded_until_s = "it failed", 1e9
    story.submits(maps(2))
    story.starts(story.launched(0)[0])
    story.submits(maps(1))
    (wait,) = why(story.core.state, JobId(2))[1:]
    assert "waits for one of 1 slots (b gets no new attempts), for which" in wait.text
    story.told.clear()  # what was said behind the core's back is no story that can be told again
    story.core = type(story.core)(story.config, IDENTITY)


def test_without_executors_the_end_of_the_grace_is_named(story: Story) -> None:
    story.joins("a").submits(maps(1))
    story.forgets("a")
    story.happens(ExecutorUnreachable(executor_id("a")))
    story.time_passes(20)
    (wait,) = waits(story)
    assert wait.kind is WaitKind.EXECUTOR
    assert wait.deadline_s == 40
    assert wait.text.endswith("there has been none for 20 s, and it fails in 40 s")


def test_a_job_that_its_driver_must_plan_on_waits_for_the_driver(story: Story) -> None:
    story.joins("a").submits(maps(1), complete=False)
    story.finishes_stage(0)
    (wait,) = waits(story)
    assert wait.kind is WaitKind.DRIVER
    assert wait.owner == "driver app"
    assert wait.deadline_s == story.config.scheduler_driver_lease_s


def test_a_job_that_has_succeeded_waits_to_be_released(story: Story) -> None:
    story.joins("a").submits(maps(1))
    story.finishes_stage(0)
    assert "has succeeded and keeps its result until it is released" in text(story)


def test_anybody_may_ask(story: Story) -> None:
    story.joins("a").submits(maps(1))
    actions = story.happens(DriverEnvelope("observer-1", 0, (AskWhy(JOB),)))
    assert sent_to_drivers(actions, JobWaits) == [JobWaits(JOB, waits(story))]
    assert sent_to_drivers(story.driver_says(AskWhy(JOB)), JobWaits) != []
    assert not any(isinstance(action.message, CancelAttempts) for action in actions)
