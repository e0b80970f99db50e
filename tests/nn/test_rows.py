"""Kernels that work row by row or channel by channel: against formulas in float64, at their extremes, on any threads."""

import math

import pytest

import flambeau
import flambeau.nn.functional as F

inf, nan = math.inf, math.nan


def numbers(*shape, step=37, scale=1.0, dtype=flambeau.float32):
    count = math.prod(shape)
    return flambeau.tensor([((i * step % 101) / 25 - 2) * scale for i in range(count)], dtype=dtype).reshape(
        shape
    )


def exact_softmax(row, log):
    top = max(row)
    powers = [math.exp(x - top) for x in row]
    total = math.fsum(powers)
    return [x - top - math.log(total) for x in row] if log else [p / total for p in powers]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("n", [1, 15, 16, 31, 33, 255, 256, 257, 1000, 2049])
def test_softmax_of_rows_of_any_length(n, log):
    x = numbers(3, n, scale=20.0).requires_grad_()
    result = (F.log_softmax if log else F.softmax)(x, 1)
    expected = [exact_softmax(row, log) for row in x.tolist()]
    flambeau.testing.assert_close(
        result.detach().double(),
        flambeau.tensor(expected, dtype=flambeau.float64),
        rtol=2e-6,
        atol=1e-6 if log else 1e-30,
    )
    weights = numbers(3, n, step=13)
    (gradient,) = flambeau.autograd.grad(result, x, weights)
    y, g = flambeau.tensor(expected, dtype=flambeau.float64), weights.double()
    wanted = g - y.exp() * g.sum(1, True) if log else (g - (g * y).sum(1, True)) * y
    flambeau.testing.assert_close(gradient.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [5, 300])
def test_softmax_of_rows_with_what_is_no_number(n):
    rows = [[0.0] * (n - 1) + [last] for last in (-inf, inf, nan, -90.0, -104.0, -3e38)]
    rows += [[-inf] * n, [-3e38] * n, [3e38] + [-3e38] * (n - 1)]
    plain, logs = F.softmax(flambeau.tensor(rows), 1), F.log_softmax(flambeau.tensor(rows), 1)
    assert plain[0, -1] == 0 and plain[0, 0].item() == pytest.approx(1 / (n - 1)) and logs[0, -1] == -inf
    for broken in (1, 2, 6):
        assert plain[broken].isnan().any() and logs[broken].isnan().any()
    for tiny in (3, 4, 5):
        assert 0 <= plain[tiny, -1].item() < 1e-38 and logs[tiny, -1].item() < -90
    flambeau.testing.assert_close(plain[7], flambeau.full((n,), 1 / n))
    assert plain[8, 0] == 1 and plain[8, 1] == 0


@pytest.mark.parametrize("affine", ["both", "weight", "bias", "neither"])
@pytest.mark.parametrize("n", [1, 7, 40, 256, 300, 5000])
def test_layer_norm_of_rows_of_any_length(n, affine):
    x = numbers(20, n).requires_grad_()
    w = (numbers(n, step=7) + 3).requires_grad_() if affine in ("both", "weight") else None
    b = numbers(n, step=11).requires_grad_() if affine in ("both", "bias") else None
    result = F.layer_norm(x, (n,), w, b)
    wide = [None if p is None else p.detach().double().requires_grad_() for p in (x, w, b)]
    centred = wide[0] - wide[0].mean(1, True)
    normal = centred * (centred.square().mean(1, True) + 1e-5).rsqrt()
    exact = normal if w is None else normal * wide[1]
    exact = exact if b is None else exact + wide[2]
    flambeau.testing.assert_close(result.detach().double(), exact.detach(), rtol=1e-5, atol=1e-5)
    weights = numbers(20, n, step=13)
    inputs = [p for p in (x, w, b) if p is not None]
    found = flambeau.autograd.grad(result, inputs, weights)
    wanted = flambeau.autograd.grad(exact, [p for p in wide if p is not None], weights.double())
    for a, e in zip(found, wanted, strict=True):
        flambeau.testing.assert_close(a.double(), e, rtol=1e-4, atol=2e-4)


def test_variances_about_a_large_offset():
    x = numbers(4, 6, 64).double()
    for norm in (
        lambda x: F.layer_norm(x, (64,)),
        lambda x: F.batch_norm(x, None, None, training=True),
        F.instance_norm,
        lambda x: F.group_norm(x, 3),
    ):
        shifted = (x + 4096).float()
        flambeau.testing.assert_close(norm(shifted).double(), norm(shifted.double()), rtol=1e-3, atol=1e-3)


def test_instance_norm_with_and_without_running_statistics():
    x = numbers(2, 3, 4, 5, dtype=flambeau.float64)
    w, b = numbers(3, dtype=flambeau.float64), numbers(3, step=7, dtype=flambeau.float64)
    plain = F.instance_norm(x, weight=w, bias=b)
    mean, var = flambeau.zeros(3).double(), flambeau.ones(3).double()
    flambeau.testing.assert_close(F.instance_norm(x, mean, var, w, b), plain)
    flambeau.testing.assert_close(mean, 0.1 * x.mean((0, 2, 3)))
    last = x.contiguous(memory_format=flambeau.channels_last)
    flambeau.testing.assert_close(F.instance_norm(last, weight=w, bias=b), plain)
    assert F.instance_norm(x[:0]).shape == (0, 3, 4, 5)


CASES = {
    "softmax": (lambda x, w, b: F.softmax(x, -1), (100, 1000), 0),
    "log_softmax": (lambda x, w, b: F.log_softmax(x, -1), (100, 1000), 0),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (768,), w, b), (200, 768), 768),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (8, 12, 20, 20), 12),
    "batch_norm of rows": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (400, 100), 100),
    "group_norm": (lambda x, w, b: F.group_norm(x, 3, w, b), (8, 12, 20, 20), 12),
    "instance_norm": (lambda x, w, b: F.instance_norm(x, weight=w, bias=b), (8, 12, 20, 20), 12),
}


@pytest.mark.parametrize("name", CASES)
def test_bits_do_not_depend_on_the_threads(name):
    function, shape, parameters = CASES[name]
    x = numbers(*shape).requires_grad_()
    extra = [numbers(parameters, step=s).requires_grad_() for s in (7, 11)] if parameters else [None, None]
    inputs, weights = [x, *extra] if parameters else [x], numbers(*shape, step=13)
    before, results = flambeau.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            flambeau.set_num_threads(threads)
            result = function(x, *extra)
            results.append((result.detach(), *flambeau.autograd.grad(result, inputs, weights)))
    finally:
        flambeau.set_num_threads(before)
    for other in results[1:]:
        assert all(map(flambeau.equal, results[0], other))


@pytest.mark.parametrize("n", [1, 15, 16, 17, 100, 40_000])
def test_conversions_of_any_length(n):
    x = numbers(n)
    half = x.half()
    assert half.tolist() == [flambeau.tensor(v).half().item() for v in x[:200].tolist()] or n > 200
    flambeau.testing.assert_close(half.float(), x, rtol=1e-3, atol=1e-3)
    assert flambeau.equal(half.float().half(), half) and flambeau.equal(half, x.double().half())
    special = flambeau.tensor([inf, -inf, nan, 65504.0, 65520.0, 6e-8, 1e-8, -0.0] * 5)
    assert special.half()[:8].tolist()[:2] == [inf, -inf] and special.half()[2].isnan()
    assert special.half()[3:8].tolist() == [65504.0, inf, 2.0**-24, 0.0, 0.0]


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("width", [0, 1, 15, 16, 17, 70])
@pytest.mark.parametrize("points", [1, 2, 17, 40])
def test_distances_of_any_number_of_points(p, width, points):
    x = numbers(points, width)
    found, rows = flambeau.pdist(x, p).tolist(), x.double().tolist()
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    expected = [math.fsum(abs(u - v) ** p for u, v in zip(a, b, strict=True)) ** (1 / p) for a, b in pairs]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("width", [1, 16, 64, 70, 150])
def test_bags_of_rows_of_any_width(mode, width):
    table, weights = numbers(50, width), numbers(30, step=7) if mode == "sum" else None
    index = flambeau.tensor([i * 17 % 50 for i in range(30)])
    offsets = flambeau.tensor([0, 4, 4, 5, 30])
    found = F.embedding_bag(index, table, offsets, mode=mode, per_sample_weights=weights, padding_idx=17)
    for bag, (a, b) in enumerate(((0, 4), (4, 4), (4, 5), (5, 30), (30, 30))):
        kept = [e for e in range(a, b) if index[e].item() != 17]
        rows = [table[index[e]].double() * (1 if weights is None else weights[e].double()) for e in kept]
        total = sum(rows, flambeau.zeros(width, dtype=flambeau.float64))
        total = total / len(kept) if mode == "mean" and kept else total
        flambeau.testing.assert_close(found[bag].double(), total, rtol=1e-5, atol=1e-5)
