"""The process that slots are forked from: everything imported, nothing started.

A fork takes milliseconds where an import takes most of a second. As the parent of all slots it is also
the one that kills them and sees them die. It ends with the supervisor, and its slots end with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

import msgspec

from flowgrid_executor.slot_main import Runner, run_slot
from flowgrid_executor.slot_protocol import ForkSlot, KillSlot, SlotDied, SlotForked, ToTemplate

_PR_SET_PDEATHSIG = 1
_MESSAGE_BYTES_MAX = 4096

_decoder: msgspec.msgpack.Decoder[ToTemplate] = msgspec.msgpack.Decoder(ToTemplate)
_encoder = msgspec.msgpack.Encoder()


def main(runner_name: str, parent: int, control_fd: int) -> None:
    """Started by `template_process`, only: hence plain arguments, without a parser to wait for."""
    die_with(parent)
    # Ctrl-C in a terminal reaches the whole group: the driver and the supervisor decide what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()  # nothing that is imported becomes garbage
    module = importlib.import_module(runner_name.partition(":")[0])
    runner: Runner = getattr(module, runner_name.partition(":")[2])
    # Python 3.12 warns of any second thread. The only one here is an allocator's (jemalloc), which
    # prepares itself for a fork and starts anew in the child.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    gc.freeze()  # a collection in a slot shall not touch, and so copy, the pages it shares
    with socket.socket(fileno=control_fd) as control:
        Template(control, runner, module.warm_up).serve()
    # Frozen objects are never collected: an orderly exit would call them leaks, loudly.
    os._exit(0)


def die_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends; end now if it already has."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


class Template:
    """Serves the supervisor's requests until it hangs up.

    `warm_up` is called in every slot, before the first attempt comes: what no fork survives.
    """

    def __init__(self, control: socket.socket, runner: Runner, warm_up: Callable[[], None]) -> None:
        self._control = control
        self._runner = runner
        self._warm_up = warm_up
        self._pids: dict[int, int] = {}
        self._killed: set[int] = set()

    def serve(self) -> None:
        child_ended, child_ended_writer = socket.socketpair()
        child_ended.setblocking(False)
        child_ended_writer.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(child_ended_writer.fileno(), warn_on_full_buffer=False)
        self._private = [self._control, child_ended, child_ended_writer]
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(child_ended, select.POLLIN)
        serving = True
        while serving:
            for descriptor, _ in poller.poll():
                if descriptor == self._control.fileno():
                    serving = self._serve_request()
                else:
                    with contextlib.suppress(BlockingIOError):
                        child_ended.recv(4096)
                    self._reap()
        for pid in self._pids.values():
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _serve_request(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES_MAX, 1)
        except ConnectionResetError:
            return False
        if not data:
            return False
        match _decoder.decode(data):
            case ForkSlot(slot):
                self._fork(slot, socket.socket(fileno=descriptors[0]))
            case KillSlot(slot):
                self._reap()  # one that has just died by itself is told as such
                if slot in self._pids:
                    self._killed.add(slot)
                    os.killpg(self._pids[slot], signal.SIGKILL)
        return True

    def _fork(self, slot: int, stream: socket.socket) -> None:
        template = os.getpid()
        with stream:
            try:
                pid = os.fork()
            except OSError as error:  # out of processes or memory
                self._tell(SlotDied(slot, error.errno or 1))
                return
            if pid == 0:
                self._become_slot(stream, template)
        os.setpgid(pid, pid)  # in both, because either may be first
        self._pids[slot] = pid
        self._tell(SlotForked(slot, pid))

    def _become_slot(self, stream: socket.socket, template: int) -> NoReturn:
        exit_code = 1
        try:
            die_with(template)
            # A group of its own, so that what user code starts is killed with the slot.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for private in self._private:
                private.close()
            gc.enable()
            self._warm_up()
            run_slot(stream, self._runner)
            exit_code = 0
        finally:
            os._exit(exit_code)

    def _reap(self) -> None:
        slots = {pid: slot for slot, pid in self._pids.items()}
        while self._pids:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                return
            if ended.si_pid in slots:
                # What the slot started goes with it; its group's number is safe until we wait for it.
                os.killpg(ended.si_pid, signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            if ended.si_pid in slots:
                slot = slots[ended.si_pid]
                exit_code = os.waitstatus_to_exitcode(status)
                self._tell(SlotDied(slot, exit_code, slot in self._killed))
                del self._pids[slot]
                self._killed.discard(slot)

    def _tell(self, message: SlotForked | SlotDied) -> None:
        # A supervisor that is gone is noticed by the next receive.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(_encoder.encode(message))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
