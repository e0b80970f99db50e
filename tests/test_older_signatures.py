"""Calls as old programs write them: numbers come first, and PyTorch takes them with one warning for all."""

import subprocess
import sys
import warnings

import pytest

import flambeau

M, V, B = flambeau.arange(1.0, 5).reshape(2, 2), flambeau.arange(1.0, 3), flambeau.ones(2, 2, 2)
#: An operator, its input, the other tensors, and the names of the number or numbers.
SCALED = [("add", V, (V + 1,), "alpha"), ("sub", V, (V + 1,), "alpha"), ("addcmul", V, (V, V + 1), "value"),
          ("addcdiv", V, (V, V + 1), "value")]  # fmt: skip
SUMS = [
    ("addmm", M, (M, M)),
    ("addmv", V, (M, V)),
    ("addr", M, (V, V)),
    ("baddbmm", B, (B, B)),
    ("addbmm", M, (B, B)),
]


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(("name", "x", "others", "number"), SCALED)
def test_a_number_before_the_tensors(name, x, others, number):
    function, expected = getattr(flambeau, name), getattr(flambeau, name)(x, *others, **{number: 3})
    out, changed = flambeau.empty(0), x.clone()
    assert function(x, 3, *others, out=out) is out
    assert getattr(changed, name + "_")(3, *others) is changed
    for found in (function(x, 3, *others), getattr(x, name)(3, *others), out, changed):
        assert flambeau.equal(found, expected)


@pytest.mark.parametrize(("name", "x", "others"), SUMS)
def test_numbers_around_the_input_of_a_sum(name, x, others):
    function = getattr(flambeau, name)
    for alpha in (3, 1):
        numbers = (2, alpha) if alpha != 1 else (2,)
        expected = function(x, *others, beta=2, alpha=alpha)
        out, changed = flambeau.empty(0), x.clone()
        assert function(2, x, *numbers[1:], *others, out=out) is out
        assert getattr(changed, name + "_")(*numbers, *others) is changed
        for found in (
            function(2, x, *numbers[1:], *others),
            getattr(x, name)(*numbers, *others),
            out,
            changed,
        ):
            assert flambeau.equal(found, expected)
        with pytest.raises(TypeError):  # a method's order, which is not the function's
            function(x, *numbers, *others)


def test_names_may_be_given_to_the_last():
    assert V.clone().add_(2, other=V).tolist() == [3, 6]
    assert flambeau.equal(flambeau.addmm(2, M, 3, M, mat2=M), flambeau.addmm(M, M, M, beta=2, alpha=3))
    for wrong in (
        lambda: V.add(2, V, alpha=3),
        lambda: M.addmm(2, M, M, alpha=3),
        lambda: V.addcmul(2, V, V, value=2),
    ):
        with pytest.raises(TypeError):
            wrong()


def test_what_fits_no_order_is_told_of_the_signature_of_today():
    with pytest.raises(TypeError, match=r"add_\(\) takes 2 positional arguments but 3 were given"):
        V.add_(V, 2)
    with pytest.raises(TypeError, match="must be Tensor, not int"):
        V.addcmul_(2, V)
    # What is written must be a tensor in every order.
    for call in (lambda: flambeau.Tensor.add_(3, 2, V), lambda: flambeau.Tensor.addmm_(3, 2, 1, M, M)):
        with pytest.raises(TypeError):
            call()


def test_gradients_and_failures():
    x, y = V.clone().requires_grad_(), V.clone().requires_grad_()
    flambeau.add(x, 3, y).sum().backward()
    assert x.grad.tolist() == [1, 1] and y.grad.tolist() == [3, 3]
    changed = V.clone()
    with pytest.raises(RuntimeError, match="must match"):
        changed.add_(2, flambeau.ones(3))
    assert flambeau.equal(changed, V)


def test_torch_function_is_told_of_the_call_as_written():
    told = []

    class Told(flambeau.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            told.append((func, [a for a in args if isinstance(a, int)]))
            return super().__torch_function__(func, types, args, kwargs or {})

    x = V.clone().as_subclass(Told)
    assert isinstance(x.add(2, V), Told)
    assert isinstance(flambeau.addmv(2, x, 3, M, V), Told)
    assert told[0] == (flambeau.Tensor.add, [2]) and told[1] == (flambeau.addmv, [2, 3])


def test_one_warning_in_a_process():
    program = """
import warnings
import flambeau as torch
x = torch.ones(2)
warnings.simplefilter("error")
try:
    x.add_(2, x)
except UserWarning as w:
    assert "This overload of add_ is deprecated" in str(w), w
    assert x.tolist() == [1, 1]
x.add_(2, torch.ones(2))
torch.addmm(2, torch.ones(2, 2), torch.ones(2, 2), torch.ones(2, 2))
assert x.tolist() == [3, 3]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
