"""Submitted programs: where drivers run, when another one follows, and who is not heard any more."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.events import ExecutorUnreachable
from flowgrid_scheduler.program_drivers import (
    ARCHIVES_BYTES_MAX,
    DRIVERS_PER_EXECUTOR_MAX,
    ENDED_KEPT_MAX,
)

from flowgrid.config import Config
from flowgrid.ids import DriverId, ProgramId
from flowgrid.protocol.departures import DecommissionExecutor
from flowgrid.protocol.messages import (
    CloseSession,
    DriverEnvelope,
    ExecutorLeft,
    FromDriver,
    OpenSession,
    RegisterExecutor,
    SessionOpened,
    SessionRefused,
    StopExecutor,
    SubmitJob,
)
from flowgrid.protocol.programs import (
    ARCHIVE_BYTES_MAX,
    AskProgram,
    CancelProgram,
    DriverEnded,
    DriverPrinted,
    EndDriver,
    HeldDriver,
    Output,
    ProgramRefused,
    ProgramSpec,
    ProgramState,
    ProgramStatus,
    StartDriver,
    SubmitProgram,
)
from tests.scheduler.story import (
    VERSIONS,
    Story,
    address,
    executor_id,
    launches,
    maps,
    sent_to_drivers,
    sent_to_executors,
)
from tests.scheduler.test_roll_call import NextLife

COVERS = ["session_ends"]

SPEC = ProgramSpec("nightly", "app.py", ("a",), {}, b"files")
FIRST, SECOND = DriverId(1, 0), DriverId(1, 1)


def asks(story: Story, question: FromDriver) -> list[Action]:
    """Somebody without a session."""
    return story.happens(DriverEnvelope("observer-1", 0, (question,)))


def submits(story: Story, spec: ProgramSpec = SPEC, token: str = "t" * 32) -> list[Action]:
    return asks(story, SubmitProgram(token, spec))


def is_lost(story: Story, name: str) -> list[Action]:
    story.forgets(name)
    return story.happens(ExecutorUnreachable(executor_id(name)))


def starts(actions: Sequence[Action]) -> list[tuple[str, DriverId]]:
    return [(name, word.driver) for name, word in sent_to_executors(actions, StartDriver)]


def status_of(story: Story, number: int = 1) -> ProgramStatus:
    (status,) = sent_to_drivers(asks(story, AskProgram(ProgramId(number), 0, 0)), ProgramStatus)
    return status


def printed(status: ProgramStatus) -> bytes:
    return b"".join(piece.data for piece in status.output)


def connects(story: Story, driver: DriverId, session: str) -> list[Action]:
    """The driver opens a session, with the resume name that it was started with."""
    (spec,) = [
        word.spec
        for _, word in sent_to_executors(story.asked, StartDriver)
        if word.driver == driver
    ]
    word = OpenSession(session, "nightly", VERSIONS, spec.conf, driver)
    return story.driver_says(word, session=session)


def test_a_program_that_ends_by_itself_has_its_exit_code_and_all_that_it_printed(
    story: Story,
) -> None:
    story.joins("a")
    assert starts(submits(story)) == [("a", FIRST)]
    story.executor_says("a", DriverPrinted(Output(FIRST, 0, b"seven\n")))
    assert status_of(story).state is ProgramState.RUNNING

    actions = story.executor_says("a", DriverEnded(FIRST, 7))

    assert sent_to_executors(actions, EndDriver) == [("a", EndDriver(FIRST))], "it is known"
    status = status_of(story)
    assert (status.state, status.exit_code) == (ProgramState.FAILED, 7)
    assert printed(status) == b"seven\n"


def test_a_submission_that_comes_twice_is_one_program(story: Story) -> None:
    story.joins("a")
    submits(story)
    actions = submits(story)
    assert starts(actions) == []
    (status,) = sent_to_drivers(actions, ProgramStatus)
    assert status.program == ProgramId(1)


def test_a_driver_that_is_killed_is_followed_by_another_on_another_executor(story: Story) -> None:
    story.joins("a", "b")
    submits(story)
    actions = story.executor_says("a", DriverEnded(FIRST, -9))
    assert starts(actions) == [("b", SECOND)]
    assert b"SIGKILL" in printed(status_of(story))
    story.executor_says("b", DriverEnded(SECOND, 0))
    assert status_of(story).state is ProgramState.SUCCEEDED


def test_with_one_executor_the_next_driver_runs_where_the_last_one_died(story: Story) -> None:
    story.joins("a")
    submits(story)
    assert starts(story.executor_says("a", DriverEnded(FIRST, -9))) == [("a", SECOND)]


@pytest.mark.parametrize("how", ["closed", "left", "silent"])
def test_a_driver_whose_executor_is_lost_is_started_elsewhere(story: Story, how: str) -> None:
    story.joins("a", "b")
    submits(story)
    if how == "closed":
        actions = is_lost(story, "a")
    elif how == "left":
        story.forgets("a")
        actions = story.executor_says("a", ExecutorLeft("scaled down"))
    else:
        story.falls_silent("a")
        actions = story.time_passes(story.config.executor_heartbeat_timeout_s + 1)
    assert starts(actions) == [("b", SECOND)]


def test_a_driver_that_dies_too_often_is_an_end_by_name(story: Story) -> None:
    story.joins("a", "b")
    submits(story)
    for number in range(story.config.submit_restarts_max + 1):
        (running,) = story.core.state.programs.running()
        assert running.driver.number == number
        actions = story.executor_says(running.executor_name, DriverEnded(running.driver, -11))
    assert starts(actions) == []
    status = status_of(story)
    assert status.state is ProgramState.FAILED
    assert "died 4 times" in status.text
    assert "SIGSEGV" in status.text


def test_a_driver_that_was_given_up_loses_its_session_and_gets_no_other(story: Story) -> None:
    story.joins("a", "b")
    submits(story)
    connects(story, FIRST, "1" * 32)
    actions = is_lost(story, "a")
    assert len(sent_to_drivers(actions, SessionRefused)) == 1

    late = connects(story, FIRST, "2" * 32)
    assert "given up" in sent_to_drivers(late, SessionRefused)[0].reason
    assert sent_to_drivers(connects(story, SECOND, "3" * 32), SessionOpened)


def test_the_next_driver_finds_what_the_last_one_has_done(story: Story) -> None:
    stage = msgspec.structs.replace(maps(2), identity=b"same")
    story.joins("a", "b", slots=1)
    submits(story)
    connects(story, FIRST, "1" * 32)
    job = SubmitJob(0, "query", (stage,), False)
    story.driver_says(job, session="1" * 32)
    story.finishes_stage(0)

    story.executor_says("a", DriverEnded(FIRST, -9))
    connects(story, SECOND, "2" * 32)
    actions = story.driver_says(job, session="2" * 32)

    assert launches(actions) == []
    assert story.core.state.jobs[1].session == "2" * 32


def test_nothing_is_kept_of_a_program_that_has_ended(story: Story) -> None:
    story.joins("a")
    submits(story)
    connects(story, FIRST, "1" * 32)
    story.driver_says(SubmitJob(0, "query", (maps(2),), True), session="1" * 32)
    story.executor_says("a", DriverEnded(FIRST, 1))
    state = story.core.state
    assert not state.jobs
    assert not state.sessions.numbered


def test_a_name_that_the_user_chose_outlives_the_program(story: Story) -> None:
    story.joins("a")
    submits(story, ProgramSpec("app", "app.py", (), {"resume.name": "nightly"}, b""))
    connects(story, FIRST, "1" * 32)
    story.driver_says(SubmitJob(0, "query", (maps(2),), True), session="1" * 32)
    story.executor_says("a", DriverEnded(FIRST, 1))
    assert [job.state.value for job in story.core.state.jobs.values()] == ["kept"]


def test_a_cancelled_program_ends_with_its_driver_and_its_jobs(story: Story) -> None:
    story.joins("a")
    submits(story)
    connects(story, FIRST, "1" * 32)
    story.driver_says(SubmitJob(0, "query", (maps(2),), True), session="1" * 32)
    actions = asks(story, CancelProgram(ProgramId(1)))
    assert sent_to_executors(actions, EndDriver) == [("a", EndDriver(FIRST))]
    assert status_of(story).state is ProgramState.CANCELLED
    assert not story.core.state.jobs
    late = story.executor_says("a", DriverEnded(FIRST, 0))
    assert status_of(story).state is ProgramState.CANCELLED
    assert sent_to_executors(late, EndDriver) == [("a", EndDriver(FIRST))]


def test_a_program_waits_for_an_executor_and_not_for_ever(story: Story) -> None:
    submits(story)
    story.time_passes(1)
    assert starts(story.happens(story.told[-1][1])) == []
    story.time_passes(story.config.scheduler_no_executors_grace_s + 1)
    status = status_of(story)
    assert status.state is ProgramState.FAILED
    assert "no executor" in status.text


def test_a_program_that_waited_starts_with_the_first_executor(story: Story) -> None:
    submits(story)
    story.joins("a")
    assert starts(story.asked) == [("a", FIRST)]


def test_one_executor_runs_a_bounded_number_of_drivers(story: Story) -> None:
    story.joins("a")
    for number in range(DRIVERS_PER_EXECUTOR_MAX + 1):
        submits(story, token=str(number))
    assert len(starts(story.asked)) == DRIVERS_PER_EXECUTOR_MAX
    actions = story.executor_says("a", DriverEnded(DriverId(2, 0), 0))
    assert starts(actions) == [("a", DriverId(DRIVERS_PER_EXECUTOR_MAX + 1, 0))]


def test_an_executor_that_is_to_leave_stays_until_its_driver_has_ended(story: Story) -> None:
    story.joins("a", "b")
    submits(story)
    asks(story, DecommissionExecutor("a"))
    story.time_passes(1)
    assert not sent_to_executors(story.asked, StopExecutor)
    story.executor_says("a", DriverEnded(FIRST, 0))
    assert sent_to_executors(story.time_passes(0.5), StopExecutor) == [("a", StopExecutor())]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ProgramSpec("a", "a", (), {"no.such": "1"}, b""), "no.such"),
        (ProgramSpec("a", "a", (), {}, bytes(ARCHIVE_BYTES_MAX + 1)), "16 MiB"),
    ],
)
def test_a_program_that_cannot_run_is_refused_by_name(
    story: Story, spec: ProgramSpec, reason: str
) -> None:
    (refused,) = sent_to_drivers(submits(story, spec), ProgramRefused)
    assert reason in refused.reason


def test_files_of_all_programs_together_have_a_limit(story: Story) -> None:
    large = ProgramSpec("a", "a", (), {}, bytes(ARCHIVE_BYTES_MAX))
    fitting = ARCHIVES_BYTES_MAX // ARCHIVE_BYTES_MAX
    answers = [submits(story, large, str(number)) for number in range(fitting + 1)]
    assert all(sent_to_drivers(actions, ProgramStatus) for actions in answers[:-1])
    assert sent_to_drivers(answers[-1], ProgramRefused)


def test_nobody_knows_a_program_that_was_never_submitted(story: Story) -> None:
    (refused,) = sent_to_drivers(asks(story, CancelProgram(ProgramId(7))), ProgramRefused)
    assert refused.reason == "there is no program-7; known: none"


def test_those_that_have_ended_are_remembered_for_a_while(story: Story) -> None:
    story.joins("a")
    for number in range(ENDED_KEPT_MAX + 5):
        submits(story, token=str(number))
        story.executor_says("a", DriverEnded(DriverId(number + 1, 0), 0))
    assert len(story.core.state.programs.known) == ENDED_KEPT_MAX


# -- the scheduler dies too ------------------------------------------------------------------------


def comes_back(life: Story, name: str, *drivers: HeldDriver) -> list[Action]:
    register = RegisterExecutor(
        address(executor_id(name)), 2, 1 << 30, VERSIONS, 2, drivers=drivers
    )
    return life.executor_says(name, register)


def test_the_next_scheduler_goes_on_with_a_driver_that_still_runs(story: Story) -> None:
    story.joins("a")
    submits(story)
    life = NextLife(story)
    actions = comes_back(life, "a", HeldDriver(FIRST, None, (Output(FIRST, 0, b"hello"),)))
    assert starts(actions) == []
    assert printed(status_of(life)) == b"hello"
    life.executor_says("a", DriverEnded(FIRST, 0))
    assert status_of(life).state is ProgramState.SUCCEEDED


def test_an_end_that_the_dead_scheduler_did_not_hear_of_is_told_to_the_next(story: Story) -> None:
    story.joins("a")
    submits(story)
    life = NextLife(story)
    ended = DriverEnded(FIRST, 3)
    actions = comes_back(life, "a", HeldDriver(FIRST, ended, (Output(FIRST, 0, b"bye"),)))
    assert sent_to_executors(actions, EndDriver)
    status = status_of(life)
    assert (status.exit_code, printed(status)) == (3, b"bye")


def test_a_driver_that_was_never_started_is_started_by_the_next_scheduler(story: Story) -> None:
    story.joins("a")
    submits(story)
    life = NextLife(story)
    assert starts(comes_back(life, "a")) == [("a", SECOND)]
    assert life.core.state.programs.known[1].deaths == 0


def test_a_driver_of_a_program_that_has_ended_is_ended(story: Story) -> None:
    story.joins("a")
    submits(story)
    asks(story, CancelProgram(ProgramId(1)))
    life = NextLife(story)
    actions = comes_back(life, "a", HeldDriver(FIRST, None, ()))
    assert sent_to_executors(actions, EndDriver) == [("a", EndDriver(FIRST))]
    assert status_of(life).text == "it was cancelled"


def test_the_session_of_a_driver_is_its_own_in_the_next_life_too(story: Story) -> None:
    story.joins("a", "b")
    submits(story)
    connects(story, FIRST, "1" * 32)
    life = NextLife(story)
    comes_back(life, "b")
    life.time_passes(Config().scheduler_roll_call_s + 1, driver_alive=False)
    assert not life.core.state.sessions.open, "its driver was on an executor that did not come back"
    assert starts(life.asked) == [("b", SECOND)]


def test_a_driver_that_has_closed_its_session_may_open_another(story: Story) -> None:
    story.joins("a")
    submits(story)
    connects(story, FIRST, "1" * 32)
    story.driver_says(CloseSession(), session="1" * 32)
    assert sent_to_drivers(connects(story, FIRST, "2" * 32), SessionOpened)
