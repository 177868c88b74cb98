"""What is recorded is what happened, and telling it again gives the same state."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowgrid_scheduler.events import Event, ExecutorUnreachable, SessionUnreachable, Tick
from flowgrid_scheduler.journal import Journal, JournalHeader, read_header, read_journal, replay

from flowgrid.protocol.codec import heartbeats
from flowgrid.protocol.messages import Heartbeat
from tests.scheduler.story import IDENTITY, executor_id
from tests.scheduler.test_schedules import tell


def test_a_replayed_journal_gives_the_same_state(tmp_path: Path, seed: int) -> None:
    chaos = tell(seed)
    header = JournalHeader(IDENTITY, chaos.config.to_conf())
    journal = Journal(tmp_path, header)
    for now, event in chaos.told:
        journal.append(now, event)
    journal.close()
    assert read_header(journal.path) == header
    assert list(read_journal(journal.path)) == chaos.told
    assert replay(journal.path).digest() == chaos.core.digest()


def test_wire_bytes_are_recorded_as_they_came(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalHeader(IDENTITY, {}))
    beat = Heartbeat(executor_id("a"), 1, 2)
    events: list[Event] = [ExecutorUnreachable(executor_id("a")), SessionUnreachable("s"), Tick()]
    journal.append(1.0, beat, heartbeats.encode(beat))
    for event in events:
        journal.append(2.0, event)
    journal.close()
    assert [event for _, event in read_journal(journal.path)] == [beat, *events]


def test_a_record_that_is_cut_off_is_ignored(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalHeader(IDENTITY, {}))
    for second in range(3):
        journal.append(float(second), SessionUnreachable("s" * 32))
    journal.close()
    whole = journal.path.read_bytes()
    for length in range(len(whole) - 40, len(whole)):
        journal.path.write_bytes(whole[:length])
        assert [now for now, _ in read_journal(journal.path)] == [0.0, 1.0]


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    Journal(tmp_path, JournalHeader(IDENTITY, {})).close()
    with pytest.raises(FileExistsError):
        Journal(tmp_path, JournalHeader(IDENTITY, {}))
