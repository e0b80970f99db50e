"""autograd.functional against closed forms, and gradcheck's verdicts on right and wrong derivatives."""

import pytest

import flambeau
from flambeau.autograd import Function, functional, gradcheck, gradgradcheck


def point(*values, **options):
    return flambeau.tensor(list(values), dtype=flambeau.float64, **options)


def cube(x):
    return (x * x * x).sum()


def test_products_with_jacobians():
    x, v = point(1.0, 2.0), point(1.0, -1.0)
    assert functional.vjp(lambda x: x * x, x, v)[1].tolist() == [2.0, -4.0]
    value, product = functional.jvp(lambda x: x * x, x, v)
    assert value.tolist() == [1.0, 4.0] and product.tolist() == [2.0, -4.0]
    for times_hessian in (functional.vhp, functional.hvp):
        value, product = times_hessian(cube, x, v)
        assert value.item() == 9.0 and product.tolist() == [6.0, -12.0]


def test_jacobian_and_hessian():
    x, y = point(1.0, 2.0), point(3.0, 4.0)
    assert functional.jacobian(lambda x: x * x, x).tolist() == [[2.0, 0.0], [0.0, 4.0]]
    to_x, to_y = functional.jacobian(lambda x, y: x * y, (x, y))
    assert to_x.tolist() == [[3.0, 0.0], [0.0, 4.0]] and to_y.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert functional.hessian(cube, x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    (xx, xy), (yx, yy) = functional.hessian(lambda x, y: (x * x * y).sum(), (x, y))
    assert xx.tolist() == [[6.0, 0.0], [0.0, 8.0]] and yy.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert xy.tolist() == yx.tolist() == [[2.0, 0.0], [0.0, 4.0]]


def test_results_can_be_part_of_a_graph():
    x = point(2.0, requires_grad=True)
    jacobian = functional.jacobian(lambda x: x * x * x, x, create_graph=True)
    (g,) = flambeau.autograd.grad(jacobian.sum(), x)
    assert g.tolist() == [12.0]
    assert not functional.jacobian(lambda x: x * x, x).requires_grad


def test_strict():
    with pytest.raises(RuntimeError, match="not allowed in strict mode"):
        functional.jacobian(lambda x: point(1.0), point(1.0), strict=True)


class Wrong(Function):
    """Twice the input, with three times the gradient."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 3


@pytest.mark.parametrize("fast_mode", [False, True])
def test_gradcheck(fast_mode):
    x, y = point(0.3, 2.0, requires_grad=True), point(1.5, requires_grad=True)
    assert gradcheck(lambda x, y: (x * y, x + y * y), (x, y), fast_mode=fast_mode)
    assert gradgradcheck(lambda x, y: x * y * x, (x, y), fast_mode=fast_mode)
    with pytest.raises(RuntimeError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(Wrong.apply, (x,), fast_mode=fast_mode)
    assert not gradcheck(Wrong.apply, (x,), raise_exception=False, fast_mode=fast_mode)


def test_gradgradcheck_gives_the_function_the_inputs_themselves():
    parameter, factor = (
        flambeau.nn.Parameter(flambeau.tensor([0.5, 2.0], dtype=flambeau.float64)),
        flambeau.tensor(3.0),
    )
    given = []

    def function(*args):
        given.append(args)
        return args[0] ** 3 * args[1]

    assert gradgradcheck(function, (parameter, factor))
    assert all(args[0] is parameter and args[1] is factor for args in given)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_gradcheck_of_complex_functions(fast_mode):
    z = flambeau.tensor([1 + 2j, 0.5 - 1j], dtype=flambeau.complex128, requires_grad=True)
    x = point(0.3, 2.0, requires_grad=True)
    assert gradcheck(lambda z, x: z * z * x, (z, x), fast_mode=fast_mode)
    assert gradgradcheck(lambda z, x: z * z * x, (z, x), fast_mode=fast_mode)


def test_gradcheck_refuses_what_it_cannot_check():
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(cube, (point(1.0),))
    with pytest.raises(AssertionError, match="requires check_forward_ad"):
        gradcheck(cube, (point(1.0, requires_grad=True),), check_batched_forward_grad=True)


def test_second_derivatives_of_binary_cross_entropy():
    probabilities = point(0.2, 0.7, 0.4, requires_grad=True)
    targets = point(0.3, 0.9, 0.5, requires_grad=True)
    loss = flambeau.nn.functional.binary_cross_entropy
    assert gradcheck(loss, (probabilities, targets), check_forward_ad=True)
    assert gradgradcheck(loss, (probabilities, targets))
    assert gradgradcheck(lambda p: loss(p, targets.detach(), reduction="none"), (probabilities,))
    # Where the logarithm is limited, the gradient is not, but for its divisor.
    edges = point(0.0, 1.0, 0.0, requires_grad=True)
    loss(edges, point(1.0, 0.0, 0.0), reduction="sum").backward()
    assert edges.grad.tolist() == [-1e12, 1e12, 0.0]


def test_second_derivatives_of_bessel_functions_at_zero():
    for f in (flambeau.special.i1, flambeau.special.i1e):
        x = point(0.0, requires_grad=True)
        (first,) = flambeau.autograd.grad(f(x), x, create_graph=True)
        (second,) = flambeau.autograd.grad(first, x)
        assert first == 0.5 and second == 0


@pytest.mark.parametrize("f", [flambeau.logaddexp, flambeau.logaddexp2])
def test_an_infinity_is_all_of_a_sum_of_exponentials(f):
    inf = float("inf")
    x, y = point(inf, 0.0, -inf, requires_grad=True), point(0.0, inf, 0.0, requires_grad=True)
    f(x, y).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 0.0] and y.grad.tolist() == [0.0, 1.0, 1.0]
    assert gradgradcheck(f, (point(1.0, -2.0, requires_grad=True), point(0.5, 3.0, requires_grad=True)))


def test_second_derivatives_of_group_norm_without_examples():
    x = flambeau.zeros(0, 4, 3, dtype=flambeau.float64, requires_grad=True)
    (first,) = flambeau.autograd.grad(flambeau.nn.functional.group_norm(x, 2).sum(), x, create_graph=True)
    (second,) = flambeau.autograd.grad(first.sum(), x)
    assert second.shape == x.shape
