"""Distances of all pairs against the norms of the differences, their slopes where these have corners."""

import math

import pytest

import flambeau
import flambeau.nn.functional as F

ORDERS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf]


def points(*shape, phase=0):
    values = [((i * 37 + 11 + phase) % 101) / 25 - 2 for i in range(math.prod(shape))]
    return flambeau.tensor(values, dtype=flambeau.float64).reshape(shape)


def norm(difference, p):
    sizes = [abs(d) for d in difference]
    if p == 0:
        return float(sum(s != 0 for s in sizes))
    if p == math.inf:
        return max(sizes)
    return sum(s**p for s in sizes) ** (1 / p)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("width", [1, 3, 40, 700])
def test_distances_are_norms_of_differences(p, width):
    a, b = points(3, width), points(4, width, phase=5)
    found = flambeau.cdist(a, b, p)
    expected = [[norm([x - y for x, y in zip(r, s, strict=True)], p) for s in b.tolist()] for r in a.tolist()]
    flambeau.testing.assert_close(
        found, flambeau.tensor(expected, dtype=flambeau.float64), rtol=1e-9, atol=1e-9
    )
    pairs = F.pdist(a, p)
    full = flambeau.cdist(a, a, p)
    flambeau.testing.assert_close(pairs, flambeau.stack([full[0, 1], full[0, 2], full[1, 2]]))


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_gradients_follow_the_norm(p):
    # No two differences of a pair are equally large: of these each has the full slope of the largest.
    a = points(2, 3, 5).mul(math.sqrt(2)).sin().requires_grad_()
    b = points(2, 4, 5, phase=7).mul(math.sqrt(3)).cos().requires_grad_()
    g = points(2, 3, 4, phase=3)
    found = flambeau.autograd.grad(flambeau.cdist(a, b, p), (a, b), g)
    norms = flambeau.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), p, -1)
    for x, y in zip(found, flambeau.autograd.grad(norms, (a, b), g), strict=True):
        flambeau.testing.assert_close(x, y)


@pytest.mark.parametrize("p", ORDERS)
def test_points_that_coincide_have_no_slope(p):
    x = points(1, 4).repeat(3, 1).requires_grad_()
    (slope,) = flambeau.autograd.grad(F.pdist(x, p).sum(), x)
    assert not slope.any()
    (slope,) = flambeau.autograd.grad(flambeau.cdist(x, x.detach(), p).sum(), x)
    assert not slope.any()


def test_of_equally_large_differences_each_has_the_full_slope():
    x = flambeau.tensor([[1.0, -1.0, 0.5], [0.0, 0.0, 0.0]], requires_grad=True)
    (slope,) = flambeau.autograd.grad(F.pdist(x, math.inf).sum(), x)
    assert slope.tolist() == [[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]


def test_batches_broadcast_and_empty_sets():
    a, b = points(2, 1, 3, 4), points(5, 6, 4)
    assert flambeau.cdist(a, b, 1.0).shape == (2, 5, 3, 6)
    flambeau.testing.assert_close(flambeau.cdist(a, b, 1.0)[1, 2], flambeau.cdist(a[1, 0], b[2], 1.0))
    assert flambeau.cdist(points(0, 3), points(2, 3), 1.0).shape == (0, 2)
    assert flambeau.cdist(points(2, 0), points(3, 0), 1.0).tolist() == [[0.0] * 3] * 2
    assert F.pdist(points(1, 3)).shape == (0,)
    assert flambeau.cdist(a.to("meta"), b.to("meta"), 3.0).shape == (2, 5, 3, 6)


def test_results_do_not_depend_on_threads():
    before = flambeau.get_num_threads()
    flambeau.manual_seed(0)
    x = flambeau.randn(130, 50, requires_grad=True)
    found = []
    try:
        for threads in (1, 3):
            flambeau.set_num_threads(threads)
            out = F.pdist(x, 1.5)
            found.append((out, *flambeau.autograd.grad(out.sum(), x)))
    finally:
        flambeau.set_num_threads(before)
    assert all(flambeau.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", ["smooth_l1_loss", "huber_loss"])
def test_losses_that_turn_linear(name):
    x = flambeau.tensor([-3.0, -0.5, 0.0, 0.2, 0.7, 2.0], dtype=flambeau.float64, requires_grad=True)
    limit = 0.7
    options = {"beta": limit} if name == "smooth_l1_loss" else {"delta": limit}
    loss = getattr(F, name)(x, flambeau.zeros_like(x), reduction="none", **options)
    (slope,) = flambeau.autograd.grad(loss.sum(), x)
    scale = 1 / limit if name == "smooth_l1_loss" else 1.0
    for value, found, gradient in zip(x.tolist(), loss.tolist(), slope.tolist(), strict=True):
        d = abs(value)
        expected = 0.5 * d * d if d <= limit else limit * (d - 0.5 * limit)
        assert found == pytest.approx(expected * scale, rel=1e-12)
        assert gradient == pytest.approx(max(-limit, min(value, limit)) * scale, rel=1e-12)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda x: flambeau.cdist(x, x[:, :2]), "same number of columns"),
        (lambda x: flambeau.cdist(x, x, -1.0), "non-negative p"),
        (lambda x: flambeau.cdist(x, x.float(), 1.0), "one dtype"),
        (lambda x: F.pdist(x[0]), "only supports 2D tensors"),
        (lambda x: F.pdist(x.int()), "floating-point dtypes"),
        (
            lambda x: F.nll_loss(x, flambeau.tensor([0, 1]), flambeau.ones(3)),
            "expected scalar type Double but found Float",
        ),
    ],
)
def test_impossible_calls_are_refused(call, text):
    with pytest.raises(RuntimeError, match=text):
        call(points(2, 3))
