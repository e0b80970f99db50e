"""Writes float8.json: what PyTorch 2.13 does with the expressions of float8_cases.py.

In the environment of `make conformance`: python tests/golden/make_float8.py
"""

import json
from pathlib import Path

import float8_cases as cases
import torch

found = {
    "outcomes": {
        name: {text: cases.outcome(torch, name, text) for text in texts}
        for group, texts in ((cases.FLOAT8, cases.EXPRESSIONS), (cases.BYTES, cases.BYTE_EXPRESSIONS))
        for name in group
    },
    "conversions": {name: cases.conversions(torch, name) for name in cases.FLOAT8},
    "decoded": {name: cases.decoded(torch, name) for name in cases.FLOAT8},
}
Path(__file__).with_name("float8.json").write_text(json.dumps(found, indent=0) + "\n")
