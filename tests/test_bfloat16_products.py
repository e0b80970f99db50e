"""Products of bfloat16 at sizes where processors have instructions for them: sums in float32, rounded once."""

import math

import pytest

import flambeau

U = 2.0**-24  # half a unit in the last place of a float32
ROUNDING = 2.0**-8  # of the result
SHAPES = [(33, 45, 70), (64, 128, 784), (25, 300, 515), (200, 33, 1100), (193, 97, 2), (100, 64, 511)]


def rows(m, n, seed, turned=False, gap=0):
    """m x n normal numbers; turned: columns are dense; gap: elements between rows (or columns)."""
    flambeau.manual_seed(seed)
    outer, inner = (n, m) if turned else (m, n)
    dense = flambeau.randn(outer, inner + gap).bfloat16()[:, :inner]
    return dense.t() if turned else dense


def assert_near(a, b, product, expected=None):
    a, b = a.double(), b.double()
    expected = a @ b if expected is None else expected
    bound = math.sqrt(a.shape[1]) * U * (a.abs() @ b.abs()) + ROUNDING * expected.abs()
    assert product.dtype is flambeau.bfloat16
    assert ((product.double() - expected).abs() <= bound).all()


@pytest.mark.parametrize("m,n,k", SHAPES)
@pytest.mark.parametrize("turned_a", [False, True])
@pytest.mark.parametrize("turned_b", [False, True])
@pytest.mark.parametrize("gap", [0, 3])
def test_layouts_and_edges(m, n, k, turned_a, turned_b, gap):
    a, b = rows(m, k, 1, turned_a, gap), rows(k, n, 2, turned_b, gap)
    assert_near(a, b, a @ b)


def test_alpha_and_beta():
    a, b, c = rows(70, 600, 1), rows(600, 90, 2), rows(70, 90, 3)
    expected = 0.5 * c.double() - 2 * (a.double() @ b.double())
    assert_near(2 * a, b, flambeau.addmm(c, a, b, beta=0.5, alpha=-2), expected)


@pytest.mark.parametrize("k", [63, 64])
def test_what_is_not_finite_stays_in_its_row_and_column(k):
    a, b = rows(40, k, 1), rows(k, 50, 2)
    a[3, k - 1], a[7, 0], b[5, 9] = math.inf, math.nan, -math.inf
    product, expected = a @ b, a.double() @ b.double()
    assert flambeau.equal(product.isfinite(), expected.isfinite())
    assert flambeau.equal(product.isnan(), expected.isnan())


def test_permutations_move_every_bit():
    x = rows(130, 130, 1) * (2.0 ** flambeau.randint(-60, 61, (130, 130)).float()).bfloat16()
    eye = flambeau.eye(130).bfloat16()
    order = flambeau.randperm(130)
    assert flambeau.equal(x @ eye, x)
    assert flambeau.equal(eye[order] @ x, x[order])


@pytest.mark.parametrize("m,n,k", [(64, 128, 784), (1000, 70, 1030), (50, 4000, 300)])
@pytest.mark.parametrize("turned", [False, True])
def test_the_bits_are_those_of_any_number_of_threads(m, n, k, turned):
    a, b = rows(m, k, 1, turned), rows(k, n, 2)
    threads = flambeau.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            flambeau.set_num_threads(count)
            results.append(a @ b)
    finally:
        flambeau.set_num_threads(threads)
    assert all(flambeau.equal(results[0], other) for other in results[1:])


def test_gradients_are_products_as_well():
    x, weight = rows(48, 96, 1).requires_grad_(), rows(80, 96, 2).requires_grad_()
    grad = rows(48, 80, 3)
    flambeau.nn.functional.linear(x, weight).backward(grad)
    assert_near(grad, weight.detach(), x.grad)
    assert_near(grad.t(), x.detach(), weight.grad)


def test_rows_that_share_their_memory():
    a, b = rows(1, 64, 1).expand(40, 64), rows(64, 50, 2)
    assert_near(a, b, a @ b)
