"""The environment that slots are started with."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from flowgrid_executor.template_process import slot_environment

_FAULTS_OF_BUFFERS = """
import resource

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(3):
    batch = [bytearray(1 << 20) for _ in range(8)]
before = faults()
for _ in range(20):
    batch = [bytearray(1 << 20) for _ in range(8)]
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_a_slot_does_not_fault_the_same_memory_in_again_for_every_batch() -> None:
    output = subprocess.check_output(
        [sys.executable, "-c", _FAULTS_OF_BUFFERS], env=slot_environment(), text=True
    )
    pages = 20 * 8 * (1 << 20) // 4096
    assert int(output) < pages / 20


def test_what_the_user_asks_of_glibc_overrides_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    assert slot_environment()["GLIBC_TUNABLES"].endswith(":glibc.malloc.hugetlb=0")
