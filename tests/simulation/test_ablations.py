"""Every safeguard carries weight: without it, the simulator finds a wrong answer, a hang or litter."""

from __future__ import annotations

import pytest

from tests.simulation.ablations import ABLATIONS, Ablation
from tests.simulation.faults import Faults
from tests.simulation.schedule import check_replay
from tests.simulation.world import World

SEEDS = 300
CONTROLS = 10


def first_bad_seed(ablation: Ablation, seeds: int) -> int | None:
    """The first schedule in the safeguard's climate in which something is not as it must be."""
    for seed in range(seeds):
        world = World(seed, Faults.chosen(*ablation.climate))
        try:
            world.run()
            check_replay(world)
        except Exception:  # an assertion, or a core that is led into a state that cannot be
            return seed
    return None


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_without_its_safeguard_the_cluster_is_found_wrong(
    ablation: Ablation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_bad_seed(ablation, CONTROLS) is None, "already with the safeguard on"
    ablation.switch_off(monkeypatch)
    found = first_bad_seed(ablation, SEEDS)
    assert found is not None, f"nothing noticed in {SEEDS} schedules"
    print(f"{ablation.name}: seed {found}")
