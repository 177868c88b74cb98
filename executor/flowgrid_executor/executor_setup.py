"""What an executor knows about itself before anything has happened."""

from __future__ import annotations

import msgspec


def spill_name(slot: int) -> str:
    """A slot's own place, in a local directory, for what does not fit into memory."""
    return f"spill-{slot}"


class ExecutorSetup(msgspec.Struct, frozen=True):
    """It never changes while the process lives."""

    slot_count: int
    threads_per_slot: int
    memory_bytes: int
    directory: str
    """Its home, for what is not blocks and spill, too."""
    host: str
    settings: dict[str, str]
    keys_directory: str
    lease_s: float
    more_directories: tuple[str, ...] = ()

    @property
    def directories(self) -> tuple[str, ...]:
        return self.directory, *self.more_directories

    def progress_path(self, slot: int) -> str:
        return f"{self.directory}/progress-{slot}"
