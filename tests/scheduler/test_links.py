"""One envelope per peer and turn, no gaps of our own making, and peers that are gone are found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq
from flowgrid_scheduler.actions import SendToDriver
from flowgrid_scheduler.links import PROBES_MISSED_MAX, Links

from flowgrid.protocol.codec import to_driver_envelopes
from flowgrid.protocol.messages import ClusterChanged, JobAccepted
from flowgrid.transport.sockets import bind_router, connect_dealer
from tests.cluster.deadlines import eventually
from tests.scheduler.story import JOB

pytestmark = pytest.mark.cluster

SESSION = "5" * 32


Socket = zmq.Socket[bytes]


@pytest.fixture
def ends() -> Iterator[tuple[Socket, Socket]]:
    """A ROUTER, and a DEALER named ``driver`` that it has already heard."""
    context: zmq.Context[Socket] = zmq.Context()
    router, where = bind_router(context, "tcp://127.0.0.1:0", None)
    dealer = connect_dealer(context, where, b"driver", None)
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"driver", b"hello"]
    yield router, dealer
    context.destroy(linger=0)


def test_a_turn_is_one_envelope_and_sequences_count(ends: tuple[Socket, Socket]) -> None:
    router, dealer = ends
    links = Links(router, epoch=7)
    assert links.heard(SESSION, b"driver")
    assert not links.heard(SESSION, b"somebody else")

    words = (JobAccepted(1, JOB), ClusterChanged(1, 2))
    links.send([SendToDriver(SESSION, word) for word in words])
    links.send([SendToDriver("nobody", words[0]), SendToDriver(SESSION, words[0])])

    first, second = (to_driver_envelopes.decode(dealer.recv()) for _ in range(2))
    assert (first.epoch, first.sequence, first.messages) == (7, 0, words)
    assert (second.sequence, second.messages) == (1, words[:1])


def test_a_quiet_link_is_probed_and_a_closed_one_is_found(ends: tuple[Socket, Socket]) -> None:
    router, dealer = ends
    links = Links(router, epoch=7)
    links.heard(SESSION, b"driver")
    assert links.probe() == []
    assert links.probe() == []
    assert to_driver_envelopes.decode(dealer.recv()).messages == ()

    dealer.close(linger=0)
    probes = 0

    def gone() -> list[object]:
        nonlocal probes
        probes += 1
        return list(links.probe())

    assert eventually("the closed link is found", gone) == [SESSION]
    assert probes >= PROBES_MISSED_MAX
    assert not links
