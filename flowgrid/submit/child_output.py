"""What child processes print, on its way to the driver's standard error.

All children share one pipe. A thread passes on what comes, to whatever `sys.stderr` is then (a
notebook's cell, say), and remembers the last lines, for the message about a child that did not start.
"""

from __future__ import annotations

import collections
import os
import sys
import threading

_LINES_KEPT = 12


class ChildOutput:
    """The reading end of a pipe; give `writer` to children, and call `close_writer` after the last."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self._lines: collections.deque[str] = collections.deque(maxlen=_LINES_KEPT)
        self._thread = threading.Thread(target=self._pass_on, name="flowgrid-output", daemon=True)

    def start(self) -> None:
        """Pass on what comes from now on."""
        self._thread.start()

    def close_writer(self) -> None:
        """All children have the writer; ours is closed, so that there is an end."""
        os.close(self.writer)

    def last_lines(self, wait_s: float) -> str:
        """The last lines printed, after all children have ended or `wait_s` seconds."""
        self._thread.join(wait_s)
        return "\n".join(self._lines)

    def _pass_on(self) -> None:
        rest = b""
        while chunk := os.read(self.reader, 65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._say(line)
        if rest:
            self._say(rest)
        os.close(self.reader)

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        self._lines.append(text)
        try:
            print(text, file=sys.stderr, flush=True)
        except (OSError, ValueError, AttributeError):
            return  # the driver has no standard error (any more); its children's words end here
