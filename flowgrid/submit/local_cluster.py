"""A cluster of child processes on this machine: one scheduler and its executors, and their clean end.

Everything starts at once and nobody waits: the processes meet at Unix sockets in the cluster's own
directory, whose paths are known before anybody is there. What keeps a cluster from outliving its
driver is a pipe that only the driver can write to: when the driver ends, however it ends, the children
read the end of it and go; each executor removes its directory, and the scheduler, last, the cluster's.

A scheduler that is killed is started again on its log, where the master says so: the driver looks after
it whenever it asks for `trouble`.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from flowgrid.config import Config
from flowgrid.errors import ConfigError
from flowgrid.orphaned import link_disk
from flowgrid.submit.child_output import ChildOutput
from flowgrid.submit.child_python import child_environment, python_module
from flowgrid.submit.leftovers import PREFIX, make_locked, remove, remove_stale
from flowgrid.submit.master import LocalMaster
from flowgrid.transport.processes import await_end

_DIRECTORY_BYTES_MAX = 80
"""A Unix socket's path has 107 bytes at most, the names of our sockets included."""

_END_S = 3.0
_TERMINATE_S = 2.0
"""How long a child may take to end by itself, and then after SIGTERM, before it is killed."""

_BLAS_THREAD_TIMEOUT = "20"
"""OpenBLAS reads it when numpy is imported: idle threads of its pool sleep after 2^20 cycles, not 2^26.
A driver imports numpy while its cluster starts, and a pool that spins for 30 ms takes a core from it."""

_RESTARTS_MAX = 5
_RESTARTS_WINDOW_S = 60.0
"""A scheduler that is killed more often than that within a minute is killed by something that stays."""

_NO_EXECUTORS_GRACE_S = 15.0
"""Instead of the default: nobody starts a local cluster's executors again, so waiting is in vain."""


class LocalCluster:
    """A scheduler and executors that end with this process. Make one with `start`."""

    def __init__(self, directories: Sequence[Path], lock_fds: Sequence[int]) -> None:
        self.directory = directory = directories[0]
        self._directories = directories
        self._directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self._owner_pid = os.getpid()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._child_end, self._driver_end = os.pipe()
        self._lock_fds = [_moved_above(self._driver_end, fd) for fd in lock_fds]
        self._output = ChildOutput()
        self._closing = threading.Lock()
        self._closed = False
        self._scheduler_restarts = False
        self._scheduler_conf: dict[str, str] = {}
        self._restarted_at: list[float] = []

    @classmethod
    def start(cls, master: LocalMaster, config: Config) -> LocalCluster:
        """Start the processes and return at once; `failure` tells when one did not make it.

        Raises `ConfigError` if there is no place for the cluster's directory.
        """
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", _BLAS_THREAD_TIMEOUT)
        parents = [Path(one).absolute() for one in config.local_dirs or [tempfile.gettempdir()]]
        for parent in parents:
            threading.Thread(target=remove_stale, args=(parent,), daemon=True).start()
        cluster = cls(*_make_directories(parents))
        try:
            cluster._spawn(master, config)
        except BaseException:
            cluster.close()
            raise
        _open_clusters.add(cluster)
        return cluster

    @property
    def control_address(self) -> str:
        return self._endpoint("control")

    @property
    def pids(self) -> dict[str, int]:
        """The processes, by name: ``scheduler``, ``executor-1`` and so on."""
        return {name: child.pid for name, child in self._children.items()}

    def trouble(self) -> str | None:
        """`failure`, after what can be done about it: for whoever looks after the cluster."""
        ends = self._ends()  # one look: what dies after it is for the next one
        code = ends.get("scheduler")
        with self._closing:
            if code is not None and code < 0 and self._may_restart():
                self._start_scheduler()
                del ends["scheduler"]
        return self._failure(ends)

    def failure(self) -> str | None:
        """Why this cluster is of no use any more, or None.

        An executor that was killed is the scheduler's business; one that ended by itself found
        something that no other try would change.
        """
        return self._failure(self._ends())

    def _ends(self) -> dict[str, int]:
        """The exit codes of the processes that have ended."""
        codes = {name: child.poll() for name, child in self._children.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def _failure(self, ends: Mapping[str, int]) -> str | None:
        for name, code in ends.items():
            if (name == "scheduler" or code >= 0) and not self._closed:
                how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
                words = self._output.last_lines(wait_s=0.2)
                said = f"; the last it and its siblings said:\n{words}" if words else ""
                return f"{name} of the local cluster has ended ({how}){said}"
        return None

    def close(self) -> None:
        """End all processes and remove the directory, within seconds. May be called again."""
        with self._closing:
            if self._closed or os.getpid() != self._owner_pid:
                return
            self._closed = True
        _open_clusters.discard(self)
        os.close(self._driver_end)
        for patience_s, signal_ in ((_END_S, signal.SIGTERM), (_TERMINATE_S, signal.SIGKILL)):
            for child in self._still_running(patience_s):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal_)
        self._still_running(_TERMINATE_S)
        if self._scheduler_restarts:
            self._close_child_ends()
        self._output.last_lines(wait_s=1.0)
        remove(self.directory)
        os.close(self._directory_fd)
        for fd in self._lock_fds:
            os.close(fd)

    def forget(self) -> None:
        """In a process forked from the driver: hold nothing by which a cluster could live on."""
        if self._scheduler_restarts:
            self._close_child_ends()
        for fd in (self._driver_end, *self._lock_fds, self._directory_fd, self._output.reader):
            os.close(fd)
        self._closed = True

    def _endpoint(self, name: str) -> str:
        """A Unix socket in our directory, by way of our descriptor of it if the path is long."""
        folder = str(self.directory)
        if len(os.fsencode(folder)) > _DIRECTORY_BYTES_MAX:
            folder = f"/proc/{self._owner_pid}/fd/{self._directory_fd}"
        return f"ipc://{folder}/{name}"

    def _spawn(self, master: LocalMaster, config: Config) -> None:
        self._scheduler_conf = config.to_conf()
        self._scheduler_conf.setdefault(
            "scheduler.no_executors_grace_s", str(_NO_EXECUTORS_GRACE_S)
        )
        self._scheduler_restarts = master.scheduler_restarts
        self._output.start()
        try:
            # Executors first: before they can run anything, they have most to import.
            for number in range(1, master.executors + 1):
                name = f"executor-{number}"
                self._start_child(
                    name, "flowgrid_executor", self._executor_flags(name, master), config.to_conf()
                )
            self._start_scheduler()
        finally:
            if not self._scheduler_restarts:
                self._close_child_ends()

    def _close_child_ends(self) -> None:
        """When nobody will be started any more."""
        os.close(self._child_end)
        self._output.close_writer()

    def _start_scheduler(self) -> None:
        flags = ["--bind", self.control_address, "--state-dir", str(self.directory)]
        if not self._scheduler_restarts:
            flags.append("--no-log")
        self._start_child("scheduler", "flowgrid_scheduler", flags, self._scheduler_conf)

    def _may_restart(self) -> bool:
        """Whether a killed scheduler should be started once more; counts it."""
        now = time.monotonic()
        recent = [at for at in self._restarted_at if now - at < _RESTARTS_WINDOW_S]
        if self._closed or not self._scheduler_restarts or len(recent) >= _RESTARTS_MAX:
            return False
        self._restarted_at = [*recent, now]
        return True

    def _executor_flags(self, name: str, master: LocalMaster) -> Sequence[str]:
        return (
            *("--scheduler", self.control_address, "--name", name),
            *("--bind", self._endpoint(f"{name}.data")),
            *(word for one in self._directories for word in ("--directory", str(one / name))),
            *("--slots", str(master.slots_per_executor)),
            *("--threads-per-slot", str(master.threads_per_slot)),
            *("--memory", str(master.memory_bytes)),
        )

    def _start_child(
        self, name: str, module: str, flags: Sequence[str], conf: dict[str, str]
    ) -> None:
        settings = [word for item in conf.items() for word in ("--conf", "=".join(item))]
        self._children[name] = subprocess.Popen(
            [*python_module(module), *flags, *settings, "--owner-fd", str(self._child_end)],
            stdin=subprocess.DEVNULL,
            # A scheduler announces its addresses there, which we chose ourselves.
            stdout=subprocess.DEVNULL if name == "scheduler" else self._output.writer,
            stderr=self._output.writer,
            pass_fds=(self._child_end,),
            # Ctrl-C in the terminal is for the driver, which then says what is to end.
            start_new_session=True,
            env=child_environment(),
        )

    def _still_running(self, wait_s: float) -> list[subprocess.Popen[bytes]]:
        """Children that have not ended after so many seconds, all together."""
        deadline = time.monotonic() + wait_s
        running = []
        for name, child in self._children.items():
            if child.poll() is None:
                await_end(child.pid, max(0.0, deadline - time.monotonic()))
            if child.poll() is None:
                running.append(child)
            else:
                # What was killed has left its directory, and the scheduler waits for those to go.
                for directory in reversed(self._directories):
                    remove(directory / name)
        return running


_open_clusters: set[LocalCluster] = set()


@atexit.register
def _close_all() -> None:
    for cluster in list(_open_clusters):
        cluster.close()


def _forget_all() -> None:
    for cluster in list(_open_clusters):
        cluster.forget()
    _open_clusters.clear()


os.register_at_fork(after_in_child=_forget_all)


def _moved_above(other: int, fd: int) -> int:
    """The same file under a higher number. Of a killed process the kernel lets go of the highest first
    (seen 3,000 times of 3,000), so who reads the end of its pipe finds its locks free."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, other + 1)
    os.close(fd)
    return moved


def _make_directories(parents: Sequence[Path]) -> tuple[list[Path], list[int]]:
    """A fresh directory below each, of one name, that only we can enter; and the locks that say we live.

    The first knows the others, so that whoever finds it can remove them all.
    """
    name = f"{PREFIX}{os.urandom(4).hex()}"
    made: list[tuple[Path, int]] = []
    try:
        for number, parent in enumerate(parents, 1):
            made.append(make_locked(parent / name))
            if number > 1:
                link_disk(made[0][0], number, parent / name)
    except OSError as error:
        for directory, fd in made:
            remove(directory)
            os.close(fd)
        raise ConfigError(f"cannot make a local cluster in {parent}: {error.strerror}") from None
    return [directory for directory, _ in made], [fd for _, fd in made]
