"""A record of all events, for people who want to know what happened: replayed, it decides the same.

Written only with ``scheduler.record_events``; what survives the scheduler is in the job log (`job_log`).

A file begins with a header (what the core was made of), then one record per event::

    now (8 bytes, seconds)  kind (1 byte, index into KINDS)  length (4 bytes)  event (msgpack)

What came by wire is written as the bytes that came. A record that is cut off at the end of the file
was never acted on, and is ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from flowgrid.config import Config
from flowgrid.protocol.messages import DriverEnvelope, ExecutorEnvelope, Heartbeat
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.events import Event, ExecutorUnreachable, SessionUnreachable, Tick
from flowgrid_scheduler.job_log import Key

KINDS: tuple[type[Event], ...] = (
    DriverEnvelope,
    ExecutorEnvelope,
    Heartbeat,
    ExecutorUnreachable,
    SessionUnreachable,
    Tick,
)
_BUFFER_BYTES = 1 << 18
_RECORD = struct.Struct("<dBI")
_encoder = msgspec.msgpack.Encoder()
_kind_numbers = {kind: number for number, kind in enumerate(KINDS)}


class JournalHeader(msgspec.Struct, frozen=True):
    """What a core must be made of to replay the events; `facts` is the log that it began with."""

    identity: ClusterIdentity
    conf: dict[str, str]
    facts: tuple[tuple[Key, bytes], ...] = ()


class Journal:
    """The journal of one start of a scheduler, in a file of its own below `directory`."""

    def __init__(self, directory: Path, header: JournalHeader) -> None:
        self.path = directory / f"{header.identity.epoch:016x}.journal"
        self._file: BinaryIO = open(self.path, "xb", buffering=_BUFFER_BYTES)  # noqa: SIM115
        encoded = _encoder.encode(header)
        self._file.write(_RECORD.pack(0.0, 0, len(encoded)) + encoded)

    def append(self, now: float, event: Event, encoded: bytes | None = None) -> None:
        """Record an event; `encoded` is its wire form where there is one."""
        data = _encoder.encode(event) if encoded is None else encoded
        self._file.write(_RECORD.pack(now, _kind_numbers[type(event)], len(data)))
        self._file.write(data)

    def flush(self) -> None:
        """Hand everything to the operating system: it survives our own death from here on."""
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_header(path: Path) -> JournalHeader:
    """What the journal's core was made of."""
    _, _, encoded = next(_records(path))
    return msgspec.msgpack.decode(encoded, type=JournalHeader)


def read_journal(path: Path) -> Iterator[tuple[float, Event]]:
    """The events of a journal with their times, in order."""
    decoders = [msgspec.msgpack.Decoder(kind) for kind in KINDS]
    records = _records(path)
    next(records)  # the header
    for now, kind, encoded in records:
        yield now, decoders[kind].decode(encoded)


def replay(path: Path) -> SchedulerCore:
    """The core as it was after the last recorded event."""
    header = read_header(path)
    core = SchedulerCore(Config.parse(header.conf), header.identity, header.facts)
    for now, event in read_journal(path):
        core.handle(event, now)
    return core


def _records(path: Path) -> Iterator[tuple[float, int, bytes]]:
    with open(path, "rb") as file:
        while len(head := file.read(_RECORD.size)) == _RECORD.size:
            now, kind, length = _RECORD.unpack(head)
            encoded = file.read(length)
            if len(encoded) < length:
                return
            yield now, kind, encoded
