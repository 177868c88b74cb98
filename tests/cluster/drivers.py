"""Driver programs in processes of their own, for tests in which the driver dies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.cluster.census import Premises


class Driver:
    """Runs Python source as a user would, or `under` another command. Its standard output and errors
    are kept in a file."""

    def __init__(
        self, program: str, premises: Premises, *arguments: str, under: Sequence[str] = ()
    ) -> None:
        self.log = premises.folder.parent / "driver.log"
        source = premises.folder.parent / "program.py"
        source.write_text(program, encoding="utf-8")
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [*under, sys.executable, str(source), *arguments],
                env=premises.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def reaches(self, file: Path) -> bool:
        """Whether the program made `file`; fails if it ended without."""
        assert file.exists() or self.process.poll() is None, self.output
        return file.exists()
