"""Gradients through tensors that become other windows on their elements in place."""

import pytest

import flambeau

CASES = {
    "squeeze_": (lambda t: t.squeeze_(), (1, 4)),
    "squeeze_ one": (lambda t: t.squeeze_(0), (1, 4)),
    "squeeze_ several": (lambda t: t.squeeze_((0, 2)), (1, 4, 1)),
    "squeeze_ a view": (lambda t: t[:, 1:3].squeeze_(), (1, 4)),
    "squeeze_ a transpose": (lambda t: t.mT.squeeze_(1), (3, 1, 2)),
    "unsqueeze_": (lambda t: t.unsqueeze_(1), (2, 3)),
    "unsqueeze_ a view": (lambda t: t[:, 1:].unsqueeze_(1), (2, 3)),
    "transpose_ a view": (lambda t: t[:, 1:].transpose_(0, 1), (2, 4)),
    "transpose_": (lambda t: t.transpose_(0, 1), (2, 3)),
    "as_strided_": (lambda t: t.as_strided_((2, 2), (1, 2)), (4,)),
    "as_strided_ with gaps": (lambda t: t.as_strided_((2,), (2,), 1), (5,)),
    "as_strided_ overlapping": (lambda t: t.as_strided_((3, 2), (1, 1)), (2, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_gradients(name):
    change, shape = CASES[name]

    def call(x):
        t = change(x.clone())
        return t * t

    x = flambeau.rand(shape, dtype=flambeau.float64, requires_grad=True)
    assert flambeau.autograd.gradcheck(call, (x,))
    assert flambeau.autograd.gradgradcheck(call, (x,))


def test_the_tensor_itself_is_returned():
    t = flambeau.zeros(1, 4)
    assert t.squeeze_() is t and t.shape == (4,)
    assert flambeau.as_strided_(t, (2,), (2,)) is t and t.stride() == (2,)
    with pytest.raises(RuntimeError):
        t.as_strided_((5,), (1,))
    assert t.shape == (2,)
