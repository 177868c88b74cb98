"""What an executor knows about itself before anything has happened."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class ExecutorSetup:
    """It never changes while the process lives."""

    slot_count: int
    threads_per_slot: int
    memory_bytes: int
    directory: str
    host: str
    settings: dict[str, str]
    keys_directory: str
    lease_s: float

    def spill_directory(self, slot: int) -> str:
        return f"{self.directory}/spill-{slot}"

    def progress_path(self, slot: int) -> str:
        return f"{self.directory}/progress-{slot}"
