from __future__ import annotations

import os

from flowgrid.transport.host import host_identity


def test_a_host_is_the_same_for_its_own_processes_and_names_the_user() -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, host_identity().encode())
        os._exit(0)
    os.wait()
    os.close(writer)
    with open(reader) as answer:
        assert answer.read() == host_identity()
    assert host_identity().endswith(f"uid-{os.getuid()}")
