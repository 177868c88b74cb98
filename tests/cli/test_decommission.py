"""`flowgrid decommission` on a real cluster; under load it is tested in `tests/cluster`."""

from __future__ import annotations

import pytest

from flowgrid.cli.main import main
from flowgrid.submit.client import ask_status
from tests.cluster.census import moved_in
from tests.cluster.deadlines import eventually
from tests.cluster.standalone import standalone

pytestmark = pytest.mark.cluster


def test_an_idle_executor_ends_at_once_and_an_unknown_one_is_named_with_the_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with moved_in() as premises, standalone(premises, executors=1) as cluster:

        def decommission(name: str) -> int:
            return main(["decommission", name, "--scheduler", cluster.address])

        eventually("it is there", lambda: ask_status(cluster.address, None, 5.0).executors)
        assert decommission("executor-7") == 1
        assert "no executor 'executor-7'; known: executor-1@" in capsys.readouterr().err

        assert decommission("executor-1") == 0
        assert cluster.executors[0].wait(10) == 0
        assert decommission("executor-1") == 0
        assert "has left already" in capsys.readouterr().out
