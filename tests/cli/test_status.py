from __future__ import annotations

import pytest

from flowgrid.cli.status import _show
from flowgrid.ids import ExecutorId
from flowgrid.protocol.messages import ClusterStatus
from flowgrid.protocol.status import ExecutorStatus
from flowgrid.protocol.versions import local_versions


def test_what_is_wrong_with_an_executor_or_with_a_disk_of_it_is_said_below_the_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = ExecutorStatus(
        ExecutorId("e1", 1),
        "here",
        2,
        1,
        0.2,
        1 << 20,
        "3 failures",
        "",
        ("/mnt/b: [Errno 5] bad",),
    )

    _show("tcp://x", ClusterStatus(1, local_versions(), (one,), ()))

    lines = capsys.readouterr().out.splitlines()
    assert "e1 gets no new attempts: 3 failures" in lines
    assert "e1 does without /mnt/b: [Errno 5] bad" in lines
