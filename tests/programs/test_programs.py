"""Other people's programs, unmodified, under `python -m flambeau`: they give what they gave under PyTorch.

`make programs` makes an environment with their packages and runs these tests. The golden files were written by the same
programs under PyTorch: `python tests/programs/language_models.py tests/programs/golden/language_models.json`.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MISSING = {
    "adapters": [n for n in ("peft", "transformers", "accelerate") if importlib.util.find_spec(n) is None],
    "diffusion": [name for name in ("diffusers",) if importlib.util.find_spec(name) is None],
    "graphs": [n for n in ("torch_geometric", "torchmetrics") if importlib.util.find_spec(n) is None],
    "language_models": [name for name in ("transformers",) if importlib.util.find_spec(name) is None],
    "loops": [n for n in ("lightning", "torchmetrics") if importlib.util.find_spec(n) is None],
    "probability": [n for n in ("gpytorch", "pyro", "torchdiffeq") if importlib.util.find_spec(n) is None],
    "tensorboard_logs": [n for n in ("tensorboard", "PIL") if importlib.util.find_spec(n) is None],
    "training": [
        n for n in ("transformers", "accelerate", "tokenizers") if importlib.util.find_spec(n) is None
    ],
    "vision": [name for name in ("timm", "torchvision") if importlib.util.find_spec(name) is None],
}


def difference(expected, found, path=""):
    """Where two observations differ most: (relative difference, place); infinite where they have to be equal."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or expected.keys() != found.keys():
            return math.inf, path
        return max(
            (difference(expected[key], found[key], f"{path}/{key}") for key in expected), default=(0.0, path)
        )
    if isinstance(expected, list):
        if not isinstance(found, list) or len(expected) != len(found):
            return math.inf, path
        pairs = enumerate(zip(expected, found, strict=True))
        return max((difference(a, b, f"{path}/{i}") for i, (a, b) in pairs), default=(0.0, path))
    if isinstance(expected, float) and isinstance(found, float):
        return abs(expected - found) / (1 + abs(expected)), path
    return (0.0 if expected == found else math.inf), path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "tolerance"),
    (
        ("adapters", 2e-5),
        ("diffusion", 2e-5),
        ("graphs", 2e-5),
        ("language_models", 2e-5),
        ("loops", 2e-5),
        ("probability", 1e-8),
        ("tensorboard_logs", 1e-6),
        ("training", 1e-4),
        ("vision", 1e-4),
    ),
)
def test_program_gives_what_it_gave_under_pytorch(program, tolerance, tmp_path):
    if MISSING[program]:
        pytest.skip(
            f"not installed: {', '.join(MISSING[program])}; `make programs` makes an environment for these tests"
        )
    out = tmp_path / "observed.json"
    command = [sys.executable, "-m", "flambeau", str(HERE / f"{program}.py"), str(out)]
    if program == "training":
        command.append(str(tmp_path / "runs"))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr[-6000:]
    expected = json.loads((HERE / "golden" / f"{program}.json").read_text())
    found = json.loads(out.read_text())
    assert found.keys() == expected.keys()
    for part in expected:
        worst, place = difference(expected[part], found[part], part)
        # Eight bits of precision: another order of summation shows in the fourth digit.
        assert worst < (2e-3 if "bfloat16" in part else tolerance), place
