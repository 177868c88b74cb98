"""Runs an executor as if it were on another host: `other_host.py HOST DATA_ADDRESS FLAGS…`.

Nobody maps its files, so that its blocks travel over TCP; readers are told DATA_ADDRESS, where a proxy
may stand before the real one.
"""

from __future__ import annotations

import socket
import sys

HOST, DATA_ADDRESS = sys.argv[1:3]
del sys.argv[1:3]
socket.gethostname = lambda: HOST

import flowgrid_executor.__main__  # noqa: E402
from flowgrid_executor import server  # noqa: E402

from flowgrid.ids import ExecutorId  # noqa: E402
from flowgrid.protocol.job_graph import ExecutorAddress  # noqa: E402


def _seen_from_afar(
    executor: ExecutorId,
    host: str,
    directory: str,
    data_address: str,
    more_directories: tuple[str, ...],
) -> ExecutorAddress:
    return ExecutorAddress(executor, host, directory, DATA_ADDRESS, more_directories)


server.ExecutorAddress = _seen_from_afar  # type: ignore[assignment,attr-defined]

if __name__ == "__main__":
    sys.exit(flowgrid_executor.__main__.main())
