"""A session whose plans run in one DuckDB connection: what the API means, apart from how it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowgrid.api.session import Session
from tests.reference import ReferenceEngine


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(ReferenceEngine()) as opened:
        yield opened
