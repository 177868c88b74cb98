"""The words of the data plane."""

from __future__ import annotations

import msgspec
import pytest

from flowgrid.ids import AttemptId
from flowgrid.protocol.block_transfer import (
    CHUNK_BYTES_MAX,
    STREAM_CREDIT_BYTES_MAX,
    BlockGone,
    CancelFetch,
    ChunkSent,
    FetchBlock,
    FetchIndex,
    FromReader,
    GrantCredit,
    IndexSent,
    ToReader,
)

ATTEMPT = AttemptId(1, 2, 3, 0)


@pytest.mark.parametrize(
    "message",
    [
        FetchIndex(0, ATTEMPT),
        FetchBlock(1, ATTEMPT, ((0, 8), (16, 8)), 16),
        GrantCredit(1, 8),
        CancelFetch(1),
    ],
)
def test_requests_arrive_as_they_were_sent(message: FromReader) -> None:
    decoder = msgspec.msgpack.Decoder(FromReader)
    assert decoder.decode(msgspec.msgpack.encode(message)) == message


@pytest.mark.parametrize("message", [IndexSent(0), ChunkSent(1, 8, True), BlockGone(2, "why")])
def test_replies_arrive_as_they_were_sent(message: ToReader) -> None:
    decoder = msgspec.msgpack.Decoder(ToReader)
    assert decoder.decode(msgspec.msgpack.encode(message)) == message


def test_an_attempt_is_named_by_numbers_only() -> None:
    climbing = {"type": "FetchIndex", "request": 0, "attempt": ["../..", 0, 0, 0]}
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(climbing), type=FromReader)


def test_a_stream_s_credit_holds_several_chunks() -> None:
    assert STREAM_CREDIT_BYTES_MAX >= 2 * CHUNK_BYTES_MAX
