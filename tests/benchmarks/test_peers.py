"""Who was asked for and is not here is named, not passed over."""

from __future__ import annotations

import click
import pytest

from benchmarks import peers


def test_who_is_not_installed_is_left_out_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    assert peers.chosen("duckdb,ballista") == ["duckdb"]
    assert "ballista (the package index has it as source only)" in capsys.readouterr().err


def test_a_run_beside_nobody_who_was_asked_for_is_refused() -> None:
    with pytest.raises(click.UsageError, match="not installed: ballista"):
        peers.chosen("ballista")
    with pytest.raises(click.UsageError, match="no such peer: duckbd; there are duckdb, "):
        peers.chosen("duckbd")
    assert peers.chosen("") == []


def test_every_peer_has_a_pinned_environment_or_a_reason_for_none() -> None:
    pinned = peers.pins()
    for name, peer in peers.PEERS.items():
        assert name == "duckdb" or bool(peer.not_to_be_had) != (name in pinned)
    assert all("==" in requirement for found in pinned.values() for requirement in found)
