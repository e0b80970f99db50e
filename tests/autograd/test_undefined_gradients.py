"""Where no gradient flows, `.grad` stays None instead of becoming zeros; what has no derivative says so in backward."""

import pytest

import flambeau
from flambeau.autograd import Function


class SecondOnly(Function):
    @staticmethod
    def forward(ctx, x, y):
        return x * y

    @staticmethod
    def backward(ctx, grad):
        return None, grad


def leaf(*shape):
    return flambeau.ones(*shape or (2,)).requires_grad_()


PASSED_THROUGH = {
    "multiplied": lambda x: x * 3,
    "reduced": lambda x: x.sum(0, keepdim=True),
    "viewed": lambda x: x.reshape(1, 2),
    "indexed": lambda x: x[[0, 1]],
    "joined": lambda x: flambeau.cat([x, x]),
    "one of several": lambda x: x.unbind()[0],
    "converted": lambda x: x.double(),
    "a layer": lambda x: flambeau.nn.functional.layer_norm(x, (2,)),
}


@pytest.mark.parametrize("name", PASSED_THROUGH)
def test_none_passes_through_operators(name):
    x = leaf()
    z = PASSED_THROUGH[name](x)
    SecondOnly.apply(z, flambeau.ones_like(z).requires_grad_()).sum().backward()
    assert x.grad is None


def test_none_in_grad():
    x, y = leaf(), leaf()
    with pytest.raises(RuntimeError, match="appears to not have been used"):
        flambeau.autograd.grad(SecondOnly.apply(x * 2, y).sum(), x)
    gx, gy = flambeau.autograd.grad(SecondOnly.apply(x * 2, y).sum(), (x, y), allow_unused=True)
    assert gx is None and gy.tolist() == [1, 1]
    gx, _ = flambeau.autograd.grad(SecondOnly.apply(x * 2, y).sum(), (x, y), materialize_grads=True)
    assert gx.tolist() == [0, 0]


def test_earlier_gradient_stays():
    x = leaf()
    x.grad = flambeau.ones(2)
    SecondOnly.apply(x * 2, leaf()).sum().backward()
    assert x.grad.tolist() == [1, 1]


@pytest.mark.parametrize("materialize", [True, False])
def test_output_without_a_gradient(materialize):
    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(materialize)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, first, second):
            assert (first is None) is not materialize
            return first

    x = leaf()
    Two.apply(x)[1].sum().backward()
    assert (x.grad is None) is not materialize


@pytest.mark.parametrize(
    "count",
    [
        lambda x: flambeau.linalg.vector_norm(x, 0),
        lambda x: flambeau.norm(x, 0),
        lambda x: flambeau.linalg.slogdet(flambeau.eye(2) * x).sign,
    ],
)
def test_piecewise_constant_without_a_gradient(count):
    x = leaf()
    count(x).backward()
    assert x.grad is None


def test_sign_of_a_complex_determinant_has_a_gradient():
    def sign(a):
        return flambeau.linalg.slogdet(a).sign

    a = flambeau.tensor([[1 + 2j, 0.5], [0.3j, 2 - 1j]], dtype=flambeau.complex128, requires_grad=True)
    assert flambeau.autograd.gradcheck(sign, (a,))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: flambeau.heaviside(x, flambeau.ones(2)),
        lambda x: flambeau.floor_divide(x, 3),
        lambda x: x // 3,
        lambda x: flambeau.unique(x),
        lambda x: flambeau.unique_consecutive(x),
    ],
)
def test_no_derivative_is_an_error_in_backward(call):
    result = call(leaf())
    assert result.requires_grad
    with pytest.raises(RuntimeError, match="is not implemented"):
        result.sum().backward()


def test_products_over_an_empty_dimension_have_gradients():
    a, b = flambeau.zeros(5, 5, 0, requires_grad=True), flambeau.zeros(0, 5, requires_grad=True)
    (a @ b).sum().backward()
    assert a.grad.shape == (5, 5, 0) and b.grad.shape == (0, 5)
    a, b = flambeau.zeros(0, 2, 3, requires_grad=True), flambeau.ones(3, 4, requires_grad=True)
    (a @ b).sum().backward()
    assert b.grad.abs().max() == 0


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_second_derivatives_where_the_output_padding_reaches_the_stride(spatial):
    flambeau.manual_seed(0)
    conv = (
        flambeau.conv_transpose1d,
        flambeau.conv_transpose2d,
        flambeau.conv_transpose3d,
    )[spatial - 1]
    x = flambeau.randn(1, 2, *[3] * spatial, dtype=flambeau.float64, requires_grad=True)
    w = flambeau.randn(2, 1, *[2] * spatial, dtype=flambeau.float64, requires_grad=True)

    def call(x, w):
        return conv(x, w, stride=2, padding=1, output_padding=3, dilation=4)

    assert flambeau.autograd.gradgradcheck(call, (x, w))


def test_reflections_of_nothing_give_a_tensor_of_its_own():
    other = flambeau.zeros(5, 0, requires_grad=True)
    result = flambeau.ormqr(flambeau.zeros(5, 0), flambeau.zeros(0), other)
    assert result is not other and result.grad_fn is not None
