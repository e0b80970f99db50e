"""How tensors print, against what PyTorch printed (golden/printing.json, made by golden/make_printing.py)."""

import json
import math
import pathlib

import pytest

import flambeau

CASES = json.loads((pathlib.Path(__file__).parent / "golden" / "printing.json").read_text())
NAMES = {"torch": flambeau, "nan": math.nan, "inf": math.inf}


@pytest.fixture(autouse=True)
def default_options():
    yield
    flambeau.set_printoptions(profile="default")


def test_as_pytorch_prints():
    wrong = []
    for options, source, wanted in CASES:
        flambeau.set_printoptions(profile="default")
        flambeau.set_printoptions(**options)
        found = repr(eval(source, NAMES))
        if found != wanted:
            wrong.append(f"{options} {source}\n{found}\n---- wanted\n{wanted}")
    assert not wrong, f"{len(wrong)} of {len(CASES)}:\n" + "\n\n".join(wrong[:5])


def test_options():
    from flambeau._tensor import printing

    before = printing.get_printoptions()
    with printing.printoptions(precision=1, sci_mode=True):
        assert str(flambeau.tensor([1.5])) == "tensor([1.5e+00])"
    assert printing.get_printoptions() == before
    flambeau.set_printoptions(profile="full")
    assert "..." not in str(flambeau.arange(2000))


def test_format():
    assert f"{flambeau.tensor(1.2345):.2f}" == "1.23"
    assert f"{flambeau.tensor(7):>4d}" == "   7"
    assert f"{flambeau.tensor([1.5])}" == "tensor([1.5000])"
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{flambeau.tensor([1.5]):.2f}"


def test_subclass():
    class Marked(flambeau.Tensor):
        pass

    assert repr(flambeau.ones(2).as_subclass(Marked)) == "Marked([1., 1.])"


def test_custom_function():
    class Twice(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output * 2

    x = flambeau.ones(1, requires_grad=True)
    assert repr(Twice.apply(x)) == "tensor([2.], grad_fn=<TwiceBackward>)"
