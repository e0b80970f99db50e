"""Distributions against values recorded from PyTorch (make_golden.py): draws exactly, all else within rounding."""

import json
import math
from pathlib import Path

import pytest

import flambeau

from .cases import CASES, divergences, observe

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())

#: Values that PyTorch gives otherwise, with what is right.
DIFFERENT = {
    ("Kumaraswamy", "mode"): "PyTorch takes logarithms of negative numbers and gives nan",
    ("Wishart", "rsample_grad"): "PyTorch changes in place what its gradient needs, and raises",
}
# Relative tolerances: draws of these pass through functions whose last bit differs, and PyTorch's derivatives of gamma draws
# are approximations, good to about a thousandth.
ROUNDED_DRAWS = 1e-6
APPROXIMATE = 2e-3
GAMMA_BASED = "Beta Chi2 Dirichlet FisherSnedecor Gamma InverseGamma StudentT Wishart".split()


def close(got, want, rel, where):
    if isinstance(want, list):
        assert isinstance(got, list) and len(got) == len(want), where
        for a, b in zip(got, want, strict=True):
            close(a, b, rel, where)
    elif isinstance(want, float) and isinstance(got, float):
        same = math.isnan(want) and math.isnan(got) or math.isclose(got, want, rel_tol=rel, abs_tol=rel)
        assert same, f"{where}: {got} instead of {want}"
    else:
        assert got == want, where


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{n}-{CASES[n][0]}")
def test_case(number):
    name, parameters = CASES[number]
    want, got = GOLDEN[f"{number} {name}"], observe(flambeau, name, parameters)
    assert got.keys() == want.keys()
    for what, value in want.items():
        if (name, what) in DIFFERENT:
            continue
        if what in ("sample", "rsample", "expanded"):
            tolerance = ROUNDED_DRAWS
        elif what == "rsample_grad" and name in GAMMA_BASED:
            tolerance = APPROXIMATE
        else:
            tolerance = 2e-5
        close(got[what], value, tolerance, f"{name} {what}")


def test_divergences():
    want, got = GOLDEN["kl"], divergences(flambeau)
    assert got.keys() == want.keys()
    for pair, value in want.items():
        close(got[pair], value, 2e-5, pair)
