"""float32 products of the sizes at which processors with AMX take elements apart: nobody can tell but by the time."""

import math

import pytest

import flambeau

U = 2.0**-24  # half a unit in the last place of a float32
SHAPES = [(220, 300, 64), (150, 2100, 530), (257, 190, 1100), (600, 176, 97), (1000, 160, 512)]


def rows(m, n, seed, turned=False, gap=0):
    """m x n normal numbers; turned: columns are dense; gap: elements between rows (or columns)."""
    flambeau.manual_seed(seed)
    outer, inner = (n, m) if turned else (m, n)
    dense = flambeau.randn(outer, inner + gap)[:, :inner]
    return dense.t() if turned else dense


def error_over_bound(a, b, product):
    """The largest error, as a multiple of the unit roundoff times the product of magnitudes."""
    wide_a, wide_b = a.double(), b.double()
    bound = wide_a.abs() @ wide_b.abs() * U
    return ((product.double() - wide_a @ wide_b).abs() / bound.clamp(min=1e-300)).max().item()


@pytest.mark.parametrize("m,n,k", SHAPES)
@pytest.mark.parametrize("turned_a", [False, True])
@pytest.mark.parametrize("turned_b", [False, True])
def test_layouts_and_edges(m, n, k, turned_a, turned_b):
    a, b = rows(m, k, 1, turned_a, gap=3), rows(k, n, 2, turned_b, gap=5)
    assert error_over_bound(a, b, a @ b) < math.sqrt(k)


def test_alpha_and_beta():
    a, b, c = rows(200, 600, 1), rows(600, 300, 2), rows(200, 300, 3)
    expected = 0.5 * c.double() - 2 * (a.double() @ b.double())
    ours = flambeau.addmm(c, a, b, beta=0.5, alpha=-2)
    assert (ours.double() - expected).abs().max().item() < 1e-3
    assert flambeau.equal(flambeau.addmm(c, a, b), c.clone().addmm_(a, b))


def scaled(x, exponents):
    return x * (2.0 ** flambeau.randint(-exponents, exponents + 1, x.shape).float())


@pytest.mark.parametrize("kind", ["positive", "scaled", "cancelling"])
def test_the_error_is_that_of_float32(kind):
    a, b = rows(256, 512, 1), rows(512, 256, 2)
    if kind == "positive":
        a, b = a.abs(), b.abs()
    elif kind == "scaled":
        a, b = scaled(a, 18), scaled(b, 18)
    else:
        a, b = flambeau.cat([a, -a], 1), flambeau.cat([b, b + 1e-4 * rows(512, 256, 3)], 0)
    # The largest of ordinary float32 products was about 15 here.
    assert error_over_bound(a, b, a @ b) < 16


def test_integers_are_exact():
    flambeau.manual_seed(0)
    a, b = flambeau.randint(-180, 181, (256, 512)), flambeau.randint(-180, 181, (512, 256))
    assert flambeau.equal((a.float() @ b.float()).long(), a @ b)


def test_permutations_move_every_bit():
    x = scaled(rows(384, 384, 1), 30)
    eye = flambeau.eye(384)
    order = flambeau.randperm(384)
    assert flambeau.equal(x @ eye, x)
    assert flambeau.equal(eye @ x, x)
    assert flambeau.equal(eye[order] @ x, x[order])


def test_a_product_by_its_own_transpose_is_symmetric():
    x = rows(300, 500, 1)
    for product in (x @ x.t(), x.t() @ x):
        assert flambeau.equal(product, product.t())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, 1e20, 1e-20, 1e-41, -0.0])
@pytest.mark.parametrize("left", [True, False])
def test_extreme_elements(value, left):
    a, b = rows(320, 700, 1), rows(700, 300, 2)
    if left:
        a[170, 600] = value
    else:
        b[600, 170] = value
    ours, expected = a @ b, (a.double() @ b.double()).float()
    flambeau.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3, equal_nan=True)


def test_tiny_and_huge_results():
    small = flambeau.full((256, 256), 1e-22) @ flambeau.full((256, 256), 1e-20)
    assert small.double().sub(256e-42).abs().max().item() < 1e-44 * 256
    assert flambeau.full((256, 256), 1e25).mm(flambeau.full((256, 256), -1e25)).eq(-math.inf).all()
    # Every product is a normal number and their differences are not.
    a = flambeau.full((256, 256), 2.0**-62)
    b = flambeau.full((256, 256), 2.0**-62)
    b[1::2] = -(2.0**-62) * (1 + 2.0**-20)
    assert (a @ b).eq(-(2.0**-137)).all()


@pytest.mark.parametrize(
    "exponents", [(-90, -30), (-99, 3), (-50, -10), (-70, 12), (-20, -75), (76, 0), (39, 40), (60, -99)]
)
def test_the_borders_of_what_is_taken_apart(exponents):
    one, other = exponents
    a, b = rows(256, 512, 1).abs() * 2.0**one, rows(512, 256, 2) * 2.0**other
    flambeau.testing.assert_close(
        (a @ b).double(), a.double() @ b.double(), rtol=0, atol=512 * 2.0 ** (one + other) * 16 * U
    )


def test_the_same_bits_for_any_number_of_threads():
    a, b = rows(700, 1100, 1), rows(1100, 400, 2)
    a[300, 700] = 1e-30  # one block of rows takes another way
    before = flambeau.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            flambeau.set_num_threads(threads)
            results.append(a @ b)
    finally:
        flambeau.set_num_threads(before)
    assert flambeau.equal(results[0], results[1])
    assert flambeau.equal(results[0], results[2])


def test_empty_products():
    assert (flambeau.ones(300, 0) @ flambeau.ones(0, 300)).eq(0).all()
    assert (flambeau.ones(0, 300) @ flambeau.ones(300, 400)).shape == (0, 400)
