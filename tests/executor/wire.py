"""The scheduler's end of the wire, held by a test, and a real executor at the other end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import zmq

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol import codec
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.codec import (
    executor_envelopes,
    heartbeats,
    signs_of_life,
    to_executor_envelopes,
)
from flowgrid.protocol.fragment import Fragment, TaskInputs
from flowgrid.protocol.job_graph import OutputKind, StageSpec
from flowgrid.protocol.messages import (
    AttemptFailed,
    DescribeStage,
    ExecutorRegistered,
    FromExecutor,
    Heartbeat,
    LaunchAttempts,
    RegisterExecutor,
    ToExecutor,
    ToExecutorEnvelope,
)
from flowgrid.transport.sockets import bind_router
from tests.cluster.census import Premises

ROOT = Path(__file__).parents[2]
PATHS = [ROOT, ROOT / "scheduler", ROOT / "executor", Path(__file__).parent]
WAIT_S = 20.0
WAIT_MS = 20_000


class Wire:
    """The scheduler's two sockets and one executor at their other end."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], premises: Premises) -> None:
        self.premises = premises
        self.control, self.address = bind_router(context, "tcp://127.0.0.1:0", None)
        self.beats, self.beats_address = bind_router(context, "tcp://127.0.0.1:0", None)
        self.directory = premises.folder / "e1"
        self.heard: list[FromExecutor] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, **options: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flowgrid_executor", "--scheduler", self.address]
        command += ["--name", "e1", "--slots", "2", "--memory", "1g"]
        command += ["--directory", str(self.directory), "--runner", "scripted_runner:run_attempt"]
        environment = {
            **self.premises.environment(),
            "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
        }
        self.process = subprocess.Popen([*command, *flags], env=environment, **options)  # type: ignore[call-overload]
        return self.process

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stderr is not None:
                self.process.stderr.close()
        self.control.close(0)
        self.beats.close(0)

    def receive(self) -> ExecutorId:
        """Take one envelope; its messages are appended to `heard`."""
        assert self.control.poll(WAIT_MS), f"silence after {self.heard}"
        _, frame = self.control.recv_multipart()
        envelope = executor_envelopes.decode(frame)
        if isinstance(envelope.messages[0], RegisterExecutor):
            self.received = self.sent = 0
            self.executor = envelope.executor
        assert envelope.sequence == self.received
        self.received += 1
        self.heard += envelope.messages
        return envelope.executor

    def hear(self, kind: type[FromExecutor]) -> FromExecutor:
        """Wait for a message of a kind, and forget all up to it."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            for position, message in enumerate(self.heard):
                if isinstance(message, kind):
                    del self.heard[: position + 1]
                    return message
            self.receive()
        raise AssertionError(f"no {kind.__name__} among {self.heard}")

    def say(self, *messages: ToExecutor, skip: int = 0) -> None:
        self.sent += skip
        envelope = ToExecutorEnvelope(7, self.executor, self.sent, messages)
        frame = to_executor_envelopes.encode(envelope)
        self.control.send_multipart([str(self.executor).encode(), frame])
        self.sent += 1

    def register(self) -> RegisterExecutor:
        registered = self.hear(RegisterExecutor)
        assert isinstance(registered, RegisterExecutor)
        self.say(ExecutorRegistered(7, self.beats_address))
        return registered

    def beat(self, missing: int = 0) -> Heartbeat:
        """Answer one, as if so many envelopes of ours had not arrived."""
        assert self.beats.poll(WAIT_MS), "no heartbeat"
        identity, frame = self.beats.recv_multipart()
        self.beats.send_multipart([identity, signs_of_life.encode(self.sent + missing)])
        return heartbeats.decode(frame)

    def run(self, script: str, partition: int = 0, job: int = 1) -> AttemptId:
        """Describe a stage that follows the script, and launch one attempt of it."""
        attempt = AttemptId(job, 0, partition, 0)
        spec = StageSpec(0, script, 100, OutputKind.BLOCKS, payload=script.encode())
        self.say(DescribeStage(attempt.stage_id, spec), LaunchAttempts((attempt,)))
        return attempt

    def run_fragment(self, fragment: Fragment, inputs: TaskInputs) -> AttemptId:
        """Describe a stage of one task that is a real fragment, and launch its attempt."""
        payload, task = codec.fragments.encode(fragment), codec.task_inputs.encode(inputs)
        spec = StageSpec(0, "real", 1, OutputKind.BLOCKS, payload=payload, tasks=(task,))
        attempt = AttemptId(1, 0, 0, 0)
        self.say(DescribeStage(attempt.stage_id, spec), LaunchAttempts((attempt,)))
        return attempt

    def path(self, attempt: AttemptId) -> Path:
        return self.directory / file_name(attempt)

    def failure(self) -> AttemptFailed:
        failed = self.hear(AttemptFailed)
        assert isinstance(failed, AttemptFailed)
        return failed

    def slots(self) -> list[psutil.Process]:
        (template,) = self.templates()
        slots: list[psutil.Process] = template.children()
        return slots

    def templates(self) -> list[psutil.Process]:
        assert self.process is not None
        templates: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return templates
