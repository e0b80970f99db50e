"""The example program trains as it does under PyTorch: the same losses, and the accuracy that README promises."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the example's data comes with scikit-learn")
pytest.importorskip("tqdm", reason="the example shows a progress bar")

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "data" / "digits_losses.json"  # tools/golden_digits.py writes it


def run_example(*arguments: str) -> str:
    command = [sys.executable, "-m", "flambeau", "examples/digits.py", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def test_first_losses_equal_pytorch(tmp_path):
    run_example("--max-steps", "50", "--losses", str(tmp_path / "losses.json"))
    losses = json.loads((tmp_path / "losses.json").read_text())
    golden = json.loads(GOLDEN.read_text())["losses"]
    assert len(losses) == len(golden) == 50
    assert losses == pytest.approx(golden, rel=1e-4)


def test_accuracy_and_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="the example draws with it")
    picture = tmp_path / "digits.png"
    printed = run_example("--out", str(picture))
    accuracy = float(re.search(r"held-out digits: ([\d.]+)%", printed)[1])
    assert accuracy >= 98
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000
