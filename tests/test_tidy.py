"""The house rules that a machine can check. Each failure says what to do.

`LONG_FILES` and `LONG_FUNCTIONS` are ratchets: what is in there may shrink and leave, and nothing new
comes in.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70

LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}

PACKAGES = {
    "flowgrid": ROOT / "flowgrid",
    "scheduler": ROOT / "scheduler" / "flowgrid_scheduler",
    "executor": ROOT / "executor" / "flowgrid_executor",
}

WORDS = {
    "blacklist": "excluded",
    "coordinator": "scheduler",
    "dag": "job graph",
    "master_node": "scheduler",
    "shard": "block or partition",
    "whitelist": "allowed",
    "worker": "executor",
}
"""Words that the glossary has another one for. They may appear in prose about other systems."""

SCHEDULER_WITH_A_CLOCK_OR_A_WIRE = {
    "__init__",
    "__main__",
    "journal",
    "links",
    "server",
    "sqlite_log",
}
"""Modules of the scheduler that are no deciders: what they do has effects outside of memory."""

EXECUTORS_DECIDERS = {
    "core",
    "directories",
    "events",
    "memory",
    "outbox",
    "slot_memory",
    "slot_state",
}

NO_NAMES = {"utils", "util", "common", "helpers", "base", "manager", "misc"}

pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="house rules are about the checkout"
)


def python_files() -> list[Path]:
    """Every Python file that git knows or would take."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).exists()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def modules() -> Iterator[tuple[str, Path]]:
    """(folder of the mirrored tests, module) for every module of the three packages."""
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder).parent.as_posix()
            if package == "flowgrid":
                yield ("" if inner == "." else inner), path
            else:
                yield package, path


def test_no_file_is_longer_than_its_limit() -> None:
    long = {}
    for path in python_files():
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > LONG_FILES.get(name_of(path), FILE_LINES_MAX):
            long[name_of(path)] = count
    assert not long, f"split by topic, {FILE_LINES_MAX} lines are the limit: {long}"


def test_no_function_is_longer_than_its_limit() -> None:
    long = {}
    for path in python_files():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{name_of(path)}:{node.name}"
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > LONG_FUNCTIONS.get(where, FUNCTION_LINES_MAX):
                    long[where] = count
    assert not long, f"keep the branches, move the leaves out: {long}"


def test_the_ratchets_only_shrink() -> None:
    files = {name_of(path): path for path in python_files()}
    for name, limit in LONG_FILES.items():
        assert name in files, f"{name} is gone; take it out of LONG_FILES"
        count = len(files[name].read_text(encoding="utf-8").splitlines())
        assert count > FILE_LINES_MAX, f"{name} is short now; take it out of LONG_FILES"
        assert count == limit, f"{name} has {count} lines; write that into LONG_FILES"
    for where in LONG_FUNCTIONS:
        name, _, function = where.partition(":")
        found = [
            (node.end_lineno or 0) - node.lineno + 1
            for node in ast.walk(parse(files[name]))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
        ]
        assert found == [LONG_FUNCTIONS[where]], f"{where} is now {found} lines long"


def test_every_module_has_its_test_file() -> None:
    """tests/<folder>/test_<module>.py, or `COVERS` of a test file of that folder names the module.

    A test file that tells one story through several small modules says so at its top:
    ``COVERS = ["attempts", "retries"]``; for modules of a folder below, ``["sql.binder"]``.
    """
    missing = []
    for folder, path in modules():
        if path.stem in ("__init__", "__main__"):
            continue
        tests = ROOT / "tests" / folder
        above = f"{tests.name}.{path.stem}"
        if not (
            (tests / f"test_{path.stem}.py").exists()
            or path.stem in covered(tests)
            or above in covered(tests.parent)
        ):
            missing.append(f"{name_of(path)} (expected tests/{folder}/test_{path.stem}.py)")
    assert not missing, "modules without tests:\n" + "\n".join(missing)


def covered(tests: Path) -> set[str]:
    """The modules that the `COVERS` lists of a test folder name."""
    names: set[str] = set()
    for path in tests.glob("test_*.py"):
        for node in parse(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COVERS":
                names.update(ast.literal_eval(node.value))
    return names


def test_the_folder_map_of_the_readme_is_the_tree() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| \[`([^`]+)/`\]", readme, flags=re.MULTILINE))
    packaged = {name_of(path.parent) for _, path in modules() if path.name == "__init__.py"}
    others = {"benchmarks", "examples", "tests", "tests/cluster"}
    assert listed == packaged | others, "the folder map in README.md is not the tree"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    broken = []
    for document in ROOT.rglob("*.md"):
        if ".venv" in document.parts or "data" in document.parts:
            continue
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if "://" not in target and not (document.parent / target).exists():
                broken.append(f"{name_of(document)}: {target}")
    assert not broken, "\n".join(broken)


def test_the_public_surface_is_listed_and_sorted() -> None:
    import flowgrid

    assert flowgrid.__all__ == sorted(flowgrid.__all__)
    for name in flowgrid.__all__:
        assert hasattr(flowgrid, name), name
    public = {name for name in dir(flowgrid) if not name.startswith("_")}
    submodules = {path.stem for path in PACKAGES["flowgrid"].iterdir()}
    assert public - submodules - {"annotations", "TYPE_CHECKING"} <= set(flowgrid.__all__)


def test_identifiers_use_the_words_of_the_glossary() -> None:
    banned = re.compile("|".join(rf"(?:^|_){word}s?(?:_|$)" for word in WORDS), re.IGNORECASE)
    found = []
    for _, path in modules():
        for node in ast.walk(parse(path)):
            name = identifier(node)
            snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
            if banned.search(snake):
                found.append(f"{name_of(path)}:{getattr(node, 'lineno', 0)}: {name}")
    assert not found, f"see the glossary for another word ({WORDS}):\n" + "\n".join(found)


def identifier(node: ast.AST) -> str:
    """The name that a node introduces, if any."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name
        case ast.arg():
            return node.arg
        case ast.Name(ctx=ast.Store()):
            return node.id
        case ast.Attribute(ctx=ast.Store()):
            return node.attr
    return ""


def test_no_module_is_a_drawer_for_everything() -> None:
    found = [name_of(p) for p in python_files() if p.stem in NO_NAMES or p.parent.name in NO_NAMES]
    assert not found, f"name these by what they hold: {found}"


def test_nothing_is_left_to_do() -> None:
    marker = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    found = [name_of(p) for p in python_files() if marker.search(p.read_text(encoding="utf-8"))]
    assert not found, f"do it, or write it into an issue: {found}"


def test_the_outer_folders_of_the_servers_are_no_packages() -> None:
    for outer in ("scheduler", "executor"):
        assert not (ROOT / outer / "__init__.py").exists()
    found = [
        f"{name_of(path)}: {root}"
        for path in python_files()
        for root in import_roots(parse(path))
        if root in ("scheduler", "executor")
    ]
    assert not found, f"import flowgrid_scheduler or flowgrid_executor: {found}"


def test_every_decider_is_under_the_contract_that_keeps_it_pure() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    named = next(one["source_modules"] for one in contracts if one["name"].startswith("deciders"))
    scheduler = {path.stem for path in PACKAGES["scheduler"].glob("*.py")}
    deciders = {f"flowgrid_scheduler.{name}" for name in scheduler}
    deciders -= {f"flowgrid_scheduler.{name}" for name in SCHEDULER_WITH_A_CLOCK_OR_A_WIRE}
    deciders |= {f"flowgrid_executor.{name}" for name in EXECUTORS_DECIDERS}
    assert set(named) == deciders, "name new deciders in [tool.importlinter] of pyproject.toml"


def import_roots(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]
