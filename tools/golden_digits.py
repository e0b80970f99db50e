"""Write tests/data/digits_losses.json: the example's first 50 losses under real PyTorch.

    .venv-conformance/bin/python tools/golden_digits.py

The seed is chosen with care. A pre-activation within rounding error of zero makes ReLU's gradient depend on the
order of a sum, so that for many seeds two correct implementations part in the fourth digit within 50 steps
(PyTorch with oneDNN and without it do). Under the default seed the losses stay put when the initial weights move by
one unit in the last place.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
STEPS = 50


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        losses = Path(folder) / "losses.json"
        command = [sys.executable, "examples/digits.py", "--max-steps", str(STEPS), "--losses", str(losses)]
        subprocess.run(command, cwd=ROOT, check=True)
        record = {"library": f"torch {torch.__version__}", "losses": json.loads(losses.read_text())}
    (ROOT / "tests/data/digits_losses.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
