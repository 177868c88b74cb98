"""A block file says what it holds, and damage to that is found."""

from __future__ import annotations

import zlib

import pytest

from flowgrid.ids import AttemptId
from flowgrid.protocol import blocks
from flowgrid.protocol.blocks import Block, BlockCorruptError, BlockIndex

INDEX = BlockIndex(
    b"schema",
    (Block(((0, 64), (128, 8)), rows=3, checksum=2**64 - 1, digest=7), Block((), 0, 0, 0)),
)
BODY = b"x" * 136
FILE = BODY + blocks.encode_index(INDEX)


def test_the_index_is_found_from_the_end_of_the_file() -> None:
    assert blocks.read_index(memoryview(FILE)) == INDEX
    assert [block.bytes for block in INDEX.blocks] == [72, 0]


def test_every_attempt_has_a_file_of_its_own() -> None:
    names = {blocks.file_name(AttemptId(1, 2, 3, number)) for number in range(3)}
    assert len(names) == 3
    assert blocks.file_name(AttemptId(1, 2, 3, 0)) == "job-1/2-3-0"


@pytest.mark.parametrize("length", range(blocks.TRAILER_BYTES + 1))
def test_a_file_that_is_too_short_is_corrupt(length: int) -> None:
    with pytest.raises(BlockCorruptError):
        blocks.read_index(memoryview(FILE[:length]))


@pytest.mark.parametrize("lost", [1, 7, 8, 9, 20])
def test_a_file_whose_end_is_cut_off_is_corrupt(lost: int) -> None:
    with pytest.raises(BlockCorruptError):
        blocks.read_index(memoryview(FILE[:-lost]))


def test_an_index_longer_than_the_file_is_corrupt() -> None:
    trailer = (len(FILE) * 2).to_bytes(8, "little") + blocks.MAGIC
    with pytest.raises(BlockCorruptError, match="index"):
        blocks.read_index(memoryview(BODY + trailer))


def test_an_index_that_is_no_index_is_corrupt() -> None:
    trailer = len(BODY).to_bytes(8, "little") + blocks.MAGIC
    with pytest.raises(BlockCorruptError, match="checksum"):
        blocks.read_index(memoryview(BODY + trailer))
    body = BODY + zlib.crc32(BODY).to_bytes(4, "little")
    with pytest.raises(BlockCorruptError, match="cannot be read"):
        blocks.decode_index(body)


def test_any_flipped_bit_of_an_index_is_noticed() -> None:
    encoded = blocks.encode_index(INDEX)
    for bit in range(8 * len(encoded)):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BlockCorruptError):
            blocks.read_index(memoryview(BODY + damaged))
