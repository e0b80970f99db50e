"""nn.utils: clipping, vectors of parameters, functional_call."""

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn.utils import stateless


def parameter(*grad):
    p = nn.Parameter(torch.ones(len(grad)))
    p.grad = torch.tensor(grad)
    return p


def test_clip_grad_norm():
    p = parameter(3.0, 4.0)
    assert nn.utils.clip_grad_norm_(p, 1.0).item() == 5
    assert p.grad.norm().item() == pytest.approx(1, abs=1e-5)
    q = parameter(0.3, 0.4)
    nn.utils.clip_grad_norm_([q], 1.0)
    assert q.grad.tolist() == pytest.approx([0.3, 0.4])
    with pytest.raises(RuntimeError, match="is non-finite, so it cannot be clipped"):
        nn.utils.clip_grad_norm_(parameter(float("nan")), 1.0, error_if_nonfinite=True)


def test_only_an_empty_generator_is_warned_of(recwarn):
    for nothing in ([], iter([]), ()):
        assert nn.utils.clip_grad_norm_(nothing, 1.0).item() == 0
    assert not recwarn
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_((p for p in ()), 1.0)


def test_clip_grad_value():
    p = parameter(-3.0, 0.5)
    nn.utils.clip_grad_value_(p, 1)
    assert p.grad.tolist() == [-1, 0.5]


def test_vector_of_parameters():
    m = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(m.parameters())
    assert vector.shape == (9,)
    nn.utils.vector_to_parameters(torch.arange(9.0), m.parameters())
    assert m.bias.tolist() == [6, 7, 8]


def test_functional_call():
    m = nn.Linear(2, 1, bias=False)
    weight = torch.tensor([[2.0, 3.0]], requires_grad=True)
    with pytest.warns(FutureWarning, match="functional_call` is deprecated"):
        output = stateless.functional_call(m, {"weight": weight}, torch.ones(1, 2))
    assert output.item() == 5 and m.weight is not weight
    output.sum().backward()
    assert weight.grad.tolist() == [[1, 1]] and m.weight.grad is None
