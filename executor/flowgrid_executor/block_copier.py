"""Copies whole block files from an executor that is leaving, in a thread of its own.

A file on the same host and file system gets a second name, which costs nothing: block files never
change. Any other is fetched as a reader would, block by block, each with its checksum.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from collections import deque
from pathlib import Path

import zmq

from flowgrid.ids import AttemptId
from flowgrid.protocol.blocks import BlockCorruptError, encode_index, file_name, find_file
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.transport.block_client import BlockClient, BlockFetchError, verified
from flowgrid.transport.security import Keys
from flowgrid_executor.events import BlocksFetched, FetchBlocks

_TIMEOUT_S = 5.0


class BlockCopier:
    """`fileno` is readable when `ended` has something. Its thread is started by the first `fetch`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: Keys | None,
        host: str,
    ) -> None:
        self._context = context
        self._keys = keys
        self._host = host
        self._wanted: queue.SimpleQueue[FetchBlocks | None] = queue.SimpleQueue()
        self._ended: deque[BlocksFetched] = deque()
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def fileno(self) -> int:
        return self._woken.fileno()

    def fetch(self, wanted: FetchBlocks) -> None:
        """Returns at once; `ended` will say what became of it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="block-copier", daemon=True)
            self._thread.start()
        self._wanted.put(wanted)

    def ended(self) -> list[BlocksFetched]:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        happened = []
        while self._ended:
            happened.append(self._ended.popleft())
        return happened

    def close(self) -> None:
        """What is under way is broken off, and leaves nothing."""
        self._closing.set()
        if self._thread is not None:
            self._wanted.put(None)
            self._thread.join()
        self._woken.close()
        self._wake.close()

    # -- in the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._closing.is_set():
            attempt = wanted.attempt
            try:
                self._copy(attempt, wanted.source, Path(wanted.directory))
            except (OSError, BlockFetchError, BlockCorruptError, zmq.ZMQError) as error:
                self._ended.append(BlocksFetched(attempt, str(error) or type(error).__name__))
            else:
                self._ended.append(BlocksFetched(attempt))
            self._wake.send(b"\0")

    def _copy(self, attempt: AttemptId, source: ExecutorAddress, directory: Path) -> None:
        path = directory / file_name(attempt)
        path.parent.mkdir(exist_ok=True)
        if source.host == self._host:
            with contextlib.suppress(
                OSError
            ):  # another file system, or not there: its server knows
                os.link(find_file(source.directories, attempt), path)
                return
        temporary = path.with_name(f"{path.name}.tmp")
        with BlockClient(
            self._context, source.data_address, self._keys, timeout_s=_TIMEOUT_S
        ) as client:
            try:
                self._fetch(client, attempt, temporary)
                temporary.rename(path)
            finally:
                temporary.unlink(missing_ok=True)

    def _fetch(self, client: BlockClient, attempt: AttemptId, path: Path) -> None:
        """The same bytes in the same places."""
        index = client.fetch_index(attempt)
        end = 0
        with open(path, "wb") as file:
            for block in index.blocks:
                segments = verified(block, client.fetch_block(attempt, block))
                for (offset, _), data in zip(
                    (one for one in block.segments if one[1]), segments, strict=True
                ):
                    if self._closing.is_set():
                        raise ConnectionAbortedError("this executor ends")
                    file.seek(offset)
                    file.write(data)
                    end = max(end, offset + len(data))
            file.seek(end)
            file.write(encode_index(index))
