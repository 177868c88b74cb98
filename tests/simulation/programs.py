"""Random programs: a job graph as drivers submit it, what its tasks compute, and the right answer."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import msgspec

from flowgrid.ids import StageId
from flowgrid.protocol.job_graph import (
    ExecutorAddress,
    OutputKind,
    Slice,
    StageInput,
    StageOutputs,
    StageSpec,
)
from tests.simulation.rows import Blocks, Lineage, Recipe, Rows, split

PARTITIONS_MAX = 4
TARGETS_MAX = 3

DRIVERS_JOB = 0
"""The job number under which a driver writes its own tables: jobs are numbered from 1."""


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """One job. `grows[i]` stages are submitted first or added next, then the graph is complete.

    `number` is the payload of all its stages: how a slot finds the recipes.
    """

    number: int
    stages: tuple[StageSpec, ...]
    recipes: tuple[Recipe, ...]
    grows: tuple[int, ...]

    @property
    def deterministic(self) -> bool:
        return all(recipe.deterministic for recipe in self.recipes)

    def answer(self, lineage: Lineage) -> Rows:
        """What one process would compute, if the tasks in `lineage` draw the salts that it says."""
        written: list[list[Blocks]] = []
        for spec, recipe in zip(self.stages, self.recipes, strict=True):
            tasks = []
            for partition in range(spec.partition_count):
                inputs = [_read(written[edge.stage], edge, partition) for edge in spec.inputs]
                version = lineage.get((spec.number, partition))
                salt = version.salt if version is not None else 0
                rows = recipe.run(partition, inputs, salt)
                tasks.append(split(rows, spec.target_count))
            written.append(tasks)
        return tuple(sorted(row for task in written[-1] for rows in task for row in rows))


def _read(written: Sequence[Blocks], edge: StageInput, partition: int) -> Rows:
    part = edge.slices[partition] if edge.slices is not None else None
    if part is None:
        return tuple(row for blocks in written for rows in blocks for row in rows)
    return tuple(
        row
        for blocks in written[part.partition_start : part.partition_stop]
        for rows in blocks[part.target_start : part.target_stop]
        for row in rows
    )


class ProgramMaker:
    """Draws programs; `driver` is where the blocks of given stages are."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._tables = 0

    def make(
        self, number: int, driver: ExecutorAddress, chance_of_salt: float, stages_max: int
    ) -> Program:
        dice = self._dice
        specs: list[StageSpec] = []
        recipes: list[Recipe] = []
        payload = str(number).encode()
        for stage in range(dice.randint(1, stages_max)):
            deterministic = dice.random() >= chance_of_salt
            spec, kind = self._stage(stage, specs, payload)
            if kind == "source" and stage and not spec.inputs and dice.random() < 0.3:
                spec, deterministic = self._given(spec, driver), True
            recipe = Recipe(kind, dice.getrandbits(60), dice.randint(0, 5), deterministic)
            if spec.given is not None:
                spec = _with_rows(spec, recipe)
            elif not deterministic:
                spec = msgspec.structs.replace(spec, deterministic=dice.random() < 0.5)
            specs.append(spec)
            recipes.append(recipe)
        specs[-1] = self._result(specs[-1])
        return Program(number, tuple(specs), tuple(recipes), self._growth(len(specs)))

    def _stage(
        self, number: int, earlier: Sequence[StageSpec], payload: bytes
    ) -> tuple[StageSpec, str]:
        dice = self._dice
        targets = dice.randint(1, TARGETS_MAX)
        shape = dice.choice(("source", "shuffle", "shuffle", "slices", "union", "diamond"))
        if not earlier or shape == "source":
            count = dice.randint(0 if dice.random() < 0.1 else 1, PARTITIONS_MAX)
            spec = StageSpec(
                number, f"source {number}", count, OutputKind.BLOCKS, targets, payload=payload
            )
            return spec, "source"
        first = dice.choice(earlier[-2:])
        if shape == "union":
            inputs, count = _union(first, dice.choice(earlier))
        else:
            count = first.target_count if shape == "shuffle" else dice.randint(1, PARTITIONS_MAX)
            inputs = (StageInput(first.number, self._slices(first, count, shape)),)
            if shape == "diamond":
                other = dice.choice(earlier)
                whole = dice.random() < 0.5
                slices = None if whole else self._slices(other, count, "slices")
                inputs += (StageInput(other.number, slices),)
        kind = (
            dice.choice(("each", "join", "fold"))
            if len(inputs) > 1
            else dice.choice(("each", "fold"))
        )
        spec = StageSpec(
            number,
            f"{shape} {number}",
            count,
            OutputKind.BLOCKS,
            targets,
            inputs,
            payload,
        )
        return spec, kind

    def _slices(self, upstream: StageSpec, count: int, shape: str) -> tuple[Slice, ...]:
        """One target each, or ranges of targets and partitions that cover everything once."""
        partitions, targets = upstream.partition_count, upstream.target_count
        if shape == "shuffle":
            return tuple(Slice(t, t + 1, 0, partitions) for t in range(count))
        if self._dice.random() < 0.5:
            cuts = sorted(self._dice.randint(0, targets) for _ in range(count - 1))
            bounds = [0, *cuts, targets]
            return tuple(Slice(bounds[i], bounds[i + 1], 0, partitions) for i in range(count))
        cuts = sorted(self._dice.randint(0, partitions) for _ in range(count - 1))
        bounds = [0, *cuts, partitions]
        return tuple(Slice(0, targets, bounds[i], bounds[i + 1]) for i in range(count))

    def _given(self, spec: StageSpec, driver: ExecutorAddress) -> StageSpec:
        self._tables += 1
        count = spec.partition_count
        outputs = StageOutputs(
            spec.number,
            (driver,),
            (0,) * count,
            (0,) * count,
            StageId(DRIVERS_JOB, self._tables),
        )
        return StageSpec(
            spec.number, "given", count, OutputKind.BLOCKS, given=outputs, payload=spec.payload
        )

    def _result(self, spec: StageSpec) -> StageSpec:
        """The driver reads one target; a sink has none."""
        sink = spec.given is None and self._dice.random() < 0.4
        output = OutputKind.FILES if sink else OutputKind.BLOCKS
        return StageSpec(
            spec.number,
            spec.label,
            spec.partition_count,
            output,
            1,
            spec.inputs,
            spec.payload,
            given=spec.given,
            given_rows=spec.given_rows,
        )

    def _growth(self, count: int) -> tuple[int, ...]:
        if count == 1 or self._dice.random() < 0.5:
            return (count,)
        first = self._dice.randint(1, count - 1)
        return (first, count - first)


def _union(left: StageSpec, right: StageSpec) -> tuple[tuple[StageInput, ...], int]:
    """Each task reads one partition of one of the two inputs, and nothing of the other."""
    nothing = Slice(0, 0, 0, 0)
    if left.number == right.number:
        parts = tuple(Slice(0, left.target_count, p, p + 1) for p in range(left.partition_count))
        return (StageInput(left.number, parts),), left.partition_count
    lefts = [Slice(0, left.target_count, p, p + 1) for p in range(left.partition_count)]
    rights = [Slice(0, right.target_count, p, p + 1) for p in range(right.partition_count)]
    inputs = (
        StageInput(left.number, (*lefts, *(nothing for _ in rights))),
        StageInput(right.number, (*(nothing for _ in lefts), *rights)),
    )
    return inputs, len(lefts) + len(rights)


def _with_rows(spec: StageSpec, recipe: Recipe) -> StageSpec:
    rows = tuple((len(recipe.run(p, (), 0)),) for p in range(spec.partition_count))
    return StageSpec(
        spec.number,
        spec.label,
        spec.partition_count,
        spec.output,
        given=spec.given,
        given_rows=rows,
        payload=spec.payload,
    )
