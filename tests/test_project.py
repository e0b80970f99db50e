"""What the repository says about itself holds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_folder_map_is_complete():
    """Every folder in CONTRIBUTING's map exists once it has content, and every folder is on the map."""
    mapped = set(re.findall(r"^\| `(.+)/` \|", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE))
    top = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    hidden_or_built = {
        name for name in top if name.startswith(".") or name in ("build", "dist", "demo_output")
    }
    assert top - hidden_or_built <= mapped
    core = {f"csrc/{path.parent.name}" for path in ROOT.glob("csrc/*/*.h")}
    assert core <= mapped


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_named_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()))
    assert named and named <= targets


def test_requirements_come_from_pyproject():
    command = [sys.executable, "tools/requirements.py", "run"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert len(printed) == 1 and printed[0].startswith("scipy-openblas32")


def test_example_of_an_operator_is_the_real_one():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    page = page[page.index("## Adding an operator") :]
    sources = re.split(r"In `([\w/.]+)`:", page)[1:]
    checked = 0
    for path, text in zip(sources[::2], sources[1::2], strict=True):
        source = "".join((ROOT / path).read_text().split())
        for block in re.findall(r"```\w+\n(.*?)```", text, flags=re.DOTALL):
            assert "".join(block.split()) in source, (
                f"CONTRIBUTING.md shows what {path} does not hold:\n{block}"
            )
            checked += 1
    assert checked >= 3
