"""What a master string means, and what a program is told by `flowgrid submit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowgrid.config import GIB, MIB, Config
from flowgrid.errors import ConfigError
from flowgrid.submit.machine import cores, executor_memory_bytes
from flowgrid.submit.master import (
    LocalMaster,
    RemoteMaster,
    Submitted,
    parse_master,
    submitted_defaults,
)


@pytest.mark.parametrize(
    ("text", "threads"),
    [("local", cores()), ("local[*]", cores()), ("local[1]", 1), ("local[ 12 ]", 12)],
)
def test_local_is_one_wide_slot(text: str, threads: int) -> None:
    memory_bytes = executor_memory_bytes()
    assert parse_master(text, Config()) == LocalMaster(1, 1, threads, memory_bytes)


def test_the_memory_of_local_is_a_setting() -> None:
    config = Config(executor_memory=4 * GIB)
    assert parse_master("local[2]", config) == LocalMaster(1, 1, 2, 4 * GIB)


def test_a_local_cluster_has_executors_of_single_threaded_slots() -> None:
    assert parse_master("local-cluster[3, 2, 512]", Config()) == LocalMaster(
        3, 2, 1, 512 * MIB, True
    )


def test_executors_with_too_little_memory_for_their_slots_are_refused_with_what_they_need() -> None:
    with pytest.raises(ConfigError, match=r"150 MiB are too little .* 2 slots: at least 224 MiB"):
        parse_master("local-cluster[1,2,150]", Config())
    parse_master("local-cluster[1,2,224]", Config())


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:7077", "tcp://host:1", "tcp://[::1]:7077"])
def test_an_endpoint_is_a_cluster_that_runs(text: str) -> None:
    assert parse_master(text, Config()) == RemoteMaster(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("locl", "'local'"),
        ("local[0]", "'local[N]'"),
        ("local-cluster[2,1]", "'local-cluster[E,S,M]'"),
        ("local-cluster[2,0,100]", "'local-cluster[E,S,M]'"),
        ("tcp://host", "'tcp://host:port'"),
        ("tcp://host:99999", "'tcp://host:port'"),
        ("tcp://host:7077/path", "'tcp://host:port'"),
        ("http://host:7077", "'tcp://host:port'"),
    ],
)
def test_a_wrong_master_is_answered_with_the_nearest_form(text: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_master(text, Config())

    assert repr(text) in str(caught.value)
    assert f"did you mean {near}?" in str(caught.value)
    assert "local[*]" in str(caught.value)


def test_what_was_submitted_reaches_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Submitted("local[2]", "nightly", {"executor.memory": "2g"}, Path("/keys"))
    for name, value in said.environment().items():
        monkeypatch.setenv(name, value)

    assert submitted_defaults() == said


def test_without_submit_nothing_is_said() -> None:
    assert Submitted().environment() == {}
    assert submitted_defaults() == Submitted()


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_environment_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWGRID_CONF", text)
    with pytest.raises(ConfigError, match="FLOWGRID_CONF"):
        submitted_defaults()
