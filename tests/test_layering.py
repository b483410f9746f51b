"""What may import what, and what no file may say."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.servers import ROOT

MAY_IMPORT = {
    "pipeline": set(),
    "projections": {"pipeline"},
    "workers": {"pipeline", "projections"},
    "cli": {"pipeline", "projections", "workers", "web"},
    "web": {"pipeline", "projections", "workers"},
}
OURS = {*MAY_IMPORT, "tests", "bench", "docs"}


def files_of(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, top-level name) of everything imported, in functions too; a relative import is of the file's own folder."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            assert node.level < len(path.relative_to(ROOT).parts), f"{path}:{node.lineno} leaves its folder"


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_those_below_it(folder):
    allowed = MAY_IMPORT[folder] | {folder}
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files_of(folder)
        for line, name in imports(path)
        if name in OURS - allowed
    ]
    assert found == []


def test_the_check_sees_an_import_that_goes_up(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("import os\ndef f():\n    from workers.wiring import x\n    import cli.render as r\n")
    assert [name for _, name in imports(file)] == ["os", "workers", "cli"]


def test_every_folder_of_code_is_looked_at():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders - OURS == set()
    assert len(files_of("pipeline")) > 5


def text_files() -> Iterator[Path]:
    """Everything of the project in a checkout: hidden folders hold tools' files, but .ci is ours."""
    others = {"__pycache__", "gatepost-data", "dist", "build", "results"}
    for path in ROOT.rglob("*"):
        folders = path.relative_to(ROOT).parts[:-1]
        hidden = any(name.startswith(".") and name != ".ci" for name in folders)
        if not hidden and others.isdisjoint(folders) and path.name != ".git" and path.is_file():
            yield path


def test_no_file_names_a_path_of_somebodys_machine():
    somebodys = re.compile(rb"/(?:work|root|farm|Users|home/[a-z]+)/[\w.]")
    found = [str(path.relative_to(ROOT)) for path in text_files() if somebodys.search(path.read_bytes())]
    assert found == []


def test_the_locked_packages_come_from_no_place_in_particular():
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"://|^-|@ |file:", text, re.MULTILINE)
        assert "--hash=sha256:" in text


def test_the_lock_files_hold_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    shipped = project["project"]["dependencies"] + [one for extra in extras for one in extra]
    wanted = {
        "requirements.lock": shipped,
        "requirements-dev.lock": shipped + project["dependency-groups"]["dev"],
    }
    for name, requirements in wanted.items():
        locked = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        for requirement in map(Requirement, requirements):
            version = locked.get(canonicalize_name(requirement.name), "0")
            assert requirement.specifier.contains(version), f"{name}: {requirement}, but {version}; use ./run lock"
