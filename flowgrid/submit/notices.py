"""What a driver is told without having asked: in the log, and on a terminal if somebody sits there."""

from __future__ import annotations

import sys

from flowgrid.protocol.waits import JobStalled, sentence

LOGGER = "flowgrid"


def warn_stalled(name: str, stalled: JobStalled) -> None:
    """Say of what a job waits that has not moved for a while."""
    _warn(f"{name}: nothing has moved for {stalled.seconds:.0f} s; {sentence(stalled.waits)}")


def _warn(text: str) -> None:
    # Rare enough to be imported when it is needed: it would cost every start 8 ms.
    import logging

    logger = logging.getLogger(LOGGER)
    if logger.hasHandlers():
        logger.warning(text)
    elif sys.stderr.isatty():
        print(f"flowgrid: {text}", file=sys.stderr)
