"""Convolutions without input or output channels."""

import pytest

import flambeau
from flambeau.nn import functional as F


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64, flambeau.bfloat16])
def test_no_input_channels_leave_the_bias(dims, dtype):
    x = flambeau.ones(2, 0, *[5] * dims, dtype=dtype, requires_grad=True)
    w = flambeau.ones(3, 0, *[2] * dims, dtype=dtype, requires_grad=True)
    b = flambeau.tensor([1.0, 2.0, 3.0], dtype=dtype, requires_grad=True)
    function = getattr(F, f"conv{dims}d")
    found = function(x, w, b)
    assert found.shape == (2, 3, *[4] * dims)
    assert (found == b.reshape(3, *[1] * dims)).all() and (function(x, w) == 0).all()
    found.sum().backward()
    assert x.grad.shape == x.shape and w.grad.shape == w.shape
    assert b.grad.tolist() == [2 * 4**dims] * 3


def test_no_output_channels():
    x = flambeau.ones(1, 3, 5, 5, requires_grad=True)
    found = F.conv_transpose2d(x, flambeau.ones(3, 0, 2, 2))
    found.sum().backward()
    assert found.shape == (1, 0, 6, 6) and (x.grad == 0).all()
    with pytest.raises(RuntimeError, match="at least 1 at dimension 0"):
        F.conv2d(x, flambeau.ones(0, 3, 2, 2))
