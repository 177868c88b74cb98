"""What travels with a program."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from flowgrid.errors import ConfigError
from flowgrid.protocol.programs import ARCHIVE_BYTES_MAX
from flowgrid.submit.archives import name_of, pack


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text("print()")
    return path


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return sorted(opened.getnames())


def test_files_and_folders_lie_beside_the_program(app: Path, tmp_path: Path) -> None:
    package = tmp_path / "elsewhere" / "package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").touch()
    assert names(pack(app, [package])) == ["app.py", "package", "package/__init__.py"]


def test_a_link_travels_as_what_it_leads_to(app: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(app)
    with tarfile.open(fileobj=io.BytesIO(pack(link, []))) as opened:
        assert opened.getmember("link.py").isreg()


def test_a_folder_is_a_program_under_its_own_name(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert name_of(Path(".")) == tmp_path.name
    assert f"{tmp_path.name}/app.py" in names(pack(Path("."), []))


def test_two_files_of_one_name_are_refused(app: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "app.py"
    other.touch()
    with pytest.raises(ConfigError, match=r"another file called 'app\.py'"):
        pack(app, [other])


def test_too_much_is_refused_with_a_way_out(app: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(ARCHIVE_BYTES_MAX + 1000))
    with pytest.raises(ConfigError, match=r"more than the 16 MiB.*travel with it: put data where"):
        pack(app, [tmp_path / "data"])


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.py: No such file"):
        pack(tmp_path / "gone.py", [])
