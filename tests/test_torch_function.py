"""``__torch_function__``: which function an argument's class is told of."""

import copy
import io
import pickle

import pytest

import flambeau as torch
from flambeau.nn import functional as F

seen: list = []


class Watched(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        seen.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


class Foreign:
    """No tensor, but tensor-like."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func, types, args, kwargs


CALLS = [
    (torch.isclose, lambda f, x: f(x, x)),
    (torch.allclose, lambda f, x: f(x, x, rtol=1.0)),
    (torch.logdet, lambda f, x: f(x)),
    (torch.einsum, lambda f, x: f("ij,jk", x, x)),
    (torch.block_diag, lambda f, x: f(x, x)),
    (torch.cdist, lambda f, x: f(x, x)),
    (torch.stack, lambda f, x: f([x, x])),
    (torch.broadcast_tensors, lambda f, x: f(x, x)),
    (torch.linalg.eigh, lambda f, x: f(x)),
    (torch.linalg.cholesky, lambda f, x: f(x, upper=True)),
    (torch.fft.fft2, lambda f, x: f(x)),
    (F.cross_entropy, lambda f, x: f(x, target=x)),
    (F.mse_loss, lambda f, x: f(torch.ones(3, 3), x)),
    (F.relu, lambda f, x: f(x)),
    (F.pad, lambda f, x: f(x, (1, 1))),
    (torch.Tensor.isclose, lambda f, x: torch.ones(3, 3).isclose(x)),
    (torch.Tensor.split, lambda f, x: x.split(1) if isinstance(x, torch.Tensor) else f(x, 1)),
    (torch.Tensor.add, lambda f, x: torch.ones(3, 3) + x),
    (torch.Tensor.matmul, lambda f, x: torch.ones(3, 3) @ x),
    (torch.Tensor.mul, lambda f, x: torch.ones(3, 3).mul(x)),
    (torch.Tensor.mul_, lambda f, x: torch.ones(3, 3).mul_(x)),
    (torch.Tensor.amax, lambda f, x: x.amax(0) if isinstance(x, torch.Tensor) else f(x, 0)),
    (torch.Tensor.max, lambda f, x: x.max(0) if isinstance(x, torch.Tensor) else f(x, 0)),
    (torch.Tensor.neg, lambda f, x: -x if isinstance(x, torch.Tensor) else f(x)),
]


def names(value):
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("function, call", CALLS, ids=names)
def test_a_subclass_is_told_of_the_function_that_was_called_and_not_of_its_parts(function, call):
    seen.clear()
    result = call(function, torch.eye(3).as_subclass(Watched))
    assert len(seen) == 1 and seen[0] is function
    first = result[0] if isinstance(result, (tuple, list)) else result
    assert isinstance(first, (Watched, bool))


@pytest.mark.parametrize("function, call", CALLS, ids=names)
def test_what_is_no_tensor_answers_for_the_function(function, call):
    found, types, args, kwargs = call(function, Foreign())
    assert found is function and types == (Foreign,)
    given = [*args, *kwargs.values()]
    assert any(isinstance(a, Foreign) for a in (given[0] if isinstance(given[0], list) else given))


def test_nobody_answers():
    class Silent:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    for call in (lambda: torch.isclose(torch.ones(1), Silent()), lambda: F.relu(Silent())):
        with pytest.raises(TypeError, match="no implementation found for '(isclose|relu)' on types"):
            call()


def test_a_subclass_answers_before_its_base_and_parameters_do_not_ask():
    class Nearer(Foreign):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return "nearer", types

    assert torch.allclose(Foreign(), Nearer()) == ("nearer", (Nearer, Foreign))
    parameter = torch.nn.Parameter(torch.ones(2))
    assert type(torch.atleast_2d(parameter)) is torch.Tensor and type(F.relu(parameter)) is torch.Tensor


def test_no_question_where_questions_are_off():
    x = torch.eye(2).as_subclass(Watched)
    seen.clear()
    with torch._C.DisableTorchFunctionSubclass():
        torch.isclose(x, x), F.relu(x), x + x
    assert seen == []


def test_functions_in_python_are_copied_pickled_and_saved_by_their_names():
    for function, name in (
        (torch.isclose, "torch\nisclose"),
        (torch.Tensor.isclose, "torch\nTensor"),
        (torch.linalg.eigh, "torch.linalg\neigh"),
        (torch.fft.fft2, "torch.fft\nfft2"),
        (F.relu, "torch.nn.functional\nrelu"),
        (F.mse_loss, "torch.nn.functional\nmse_loss"),
    ):
        assert copy.deepcopy(function) is function and pickle.loads(pickle.dumps(function)) is function
        file = io.BytesIO()
        torch.save([function], file)
        assert f"c{name}\n".encode() in file.getvalue()
        file.seek(0)
        assert torch.load(file, weights_only=False) == [function]
    assert torch.Tensor.isclose is not torch.isclose and repr(F.relu).startswith("<function relu at")
    assert torch.overrides.resolve_name(torch.Tensor.isclose) == "torch.Tensor.isclose"
