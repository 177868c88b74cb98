"""Pure: the smallest set of lost tasks that must run again.

A task is wanted again if its stage has not yet reported success, if it makes part of the job's result,
or if an unfinished task of a later stage reads it. Lineage is never stored: it follows from the job
graph and the states of its tasks, from the last stage to the first, because a task that must run
again wants its own inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowgrid_scheduler.stages import Stage, TaskState


def tasks_to_recompute(stages: Sequence[Stage], result: int | None) -> dict[int, list[int]]:
    """Lost partitions to run again, by stage number. `result` is the number of the result stage of a
    complete job graph; None while the graph may grow."""
    wanted = [bytearray(stage.spec.partition_count) for stage in stages]
    again: dict[int, list[int]] = {}
    for stage in reversed(stages):
        number = stage.spec.number
        lost = [p for p, state in enumerate(stage.states) if state == TaskState.LOST]
        if stage.reported and number != result:
            lost = [p for p in lost if wanted[number][p]]
        if lost:
            again[number] = lost
        if lost or stage.remaining:
            _mark_inputs(stage, lost, wanted)
    return again


def _mark_inputs(stage: Stage, again: Sequence[int], wanted: list[bytearray]) -> None:
    """Mark what the unfinished tasks of a stage read."""
    unfinished: list[int] | None = None
    for edge in stage.spec.inputs:
        marks = wanted[edge.stage]
        if edge.slices is None:
            marks[:] = b"\1" * len(marks)
            continue
        if unfinished is None:
            unfinished = [*again, *stage.unfinished()]
        for partition in unfinished:
            part = edge.slices[partition]
            if part.target_stop > part.target_start:
                length = part.partition_stop - part.partition_start
                marks[part.partition_start : part.partition_stop] = b"\1" * length
