"""Pure: who must end because of the memory that it uses, or holds for nothing."""

from __future__ import annotations

from collections.abc import Sequence

from flowgrid.protocol import codec
from flowgrid.protocol.fragment import PythonStep
from flowgrid.protocol.job_graph import StageSpec
from flowgrid_executor.events import Action, SlotOverran
from flowgrid_executor.executor_setup import ExecutorSetup
from flowgrid_executor.memory import overrun, slot_share
from flowgrid_executor.slot_protocol import KillSlot
from flowgrid_executor.slot_state import Slot, SlotState


def end_overrun(slot: Slot, event: SlotOverran, setup: ExecutorSetup) -> list[Action]:
    """Kill an attempt that uses more than it was given; what it did is told when it is dead."""
    work = slot.work
    if slot.state is not SlotState.RUNNING or work is None or work.attempt != event.attempt:
        return []  # it has ended in the meantime, or is dying
    used = overrun(event.used_bytes, slot_share(setup, work.alone))
    slot.state, slot.overrun = SlotState.DYING, f"{_name(work.spec)} {used}"
    return [KillSlot(slot.number)]


def give_back(slots: Sequence[Slot], bytes_max: int) -> list[Action]:
    """End the idle slots that hold more than so much: nothing else gives it back for sure, and the next
    process is there in milliseconds."""
    ended = [s for s in slots if s.state is SlotState.IDLE and s.held_bytes > bytes_max]
    for slot in ended:
        slot.state = SlotState.DYING
    return [KillSlot(slot.number) for slot in ended]


def _name(spec: StageSpec) -> str:
    """What a stage is called, with the user's functions in it: most likely it is one of these."""
    try:
        steps = codec.fragments.decode(spec.payload).steps
    except codec.DecodeError:  # it is no fragment that we know
        return spec.label
    functions = [step.label for step in steps if isinstance(step, PythonStep)]
    return f"{spec.label} with the function {' and '.join(functions)}" if functions else spec.label
