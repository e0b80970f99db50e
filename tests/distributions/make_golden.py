"""Records what PyTorch's distributions give: `python -m tests.distributions.make_golden`, where PyTorch is installed."""

import json
from pathlib import Path

import torch

from .cases import CASES, divergences, observe

if __name__ == "__main__":
    lines = [
        f"{json.dumps(f'{number} {name}')}: {json.dumps(observe(torch, name, parameters))}"
        for number, (name, parameters) in enumerate(CASES)
    ]
    lines += [f'"kl": {json.dumps(divergences(torch))}']
    (Path(__file__).parent / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
