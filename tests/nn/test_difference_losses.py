"""mse_loss, l1_loss, smooth_l1_loss and huber_loss: functions of input - target, fused with their reduction."""

import math

import pytest

import flambeau
import flambeau.nn.functional as F

WIDTH = 0.75
# Value and slope of a difference, in Python's own numbers.
LOSSES = {
    "mse": (lambda x, y, **how: F.mse_loss(x, y, **how), lambda d: d * d, lambda d: 2 * d),
    "l1": (lambda x, y, **how: F.l1_loss(x, y, **how), abs, lambda d: (d > 0) - (d < 0)),
    "smooth_l1": (
        lambda x, y, **how: F.smooth_l1_loss(x, y, beta=WIDTH, **how),
        lambda d: d * d / (2 * WIDTH) if abs(d) < WIDTH else abs(d) - WIDTH / 2,
        lambda d: max(-1.0, min(1.0, d / WIDTH)) if d == d else d,
    ),
    "huber": (
        lambda x, y, **how: F.huber_loss(x, y, delta=WIDTH, **how),
        lambda d: d * d / 2 if abs(d) < WIDTH else WIDTH * (abs(d) - WIDTH / 2),
        lambda d: max(-WIDTH, min(WIDTH, d)) if d == d else d,
    ),
}


def numbers(*shape, step=37, dtype=flambeau.float32):
    count = math.prod(shape)
    return flambeau.tensor([(i * step % 101) / 25 - 2 for i in range(count)], dtype=dtype).reshape(shape)


def compare(found, expected, dtype):
    expected = flambeau.tensor(expected, dtype=flambeau.float64).reshape(found.shape).to(dtype)
    flambeau.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64, flambeau.bfloat16])
@pytest.mark.parametrize("count", [0, 1, 17, 33_000])
def test_values_and_gradients(name, dtype, count):
    loss, value, slope = LOSSES[name]
    x, y = numbers(count, dtype=dtype).requires_grad_(), numbers(count, step=61, dtype=dtype).requires_grad_()
    differences = [a - b for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    weights = numbers(count, step=13, dtype=dtype)
    each = loss(x, y, reduction="none")
    compare(each.detach(), [value(d) for d in differences], dtype)
    gradient, opposite = flambeau.autograd.grad(each, (x, y), weights)
    compare(gradient, [slope(d) * w for d, w in zip(differences, weights.tolist(), strict=True)], dtype)
    assert flambeau.equal(gradient, -opposite)
    for reduction in ("sum", "mean"):
        total = loss(x, y, reduction=reduction)
        share = 1.0 if reduction == "sum" else 1 / count if count else math.nan
        assert total.dtype == dtype and total.shape == ()
        compare(total.detach(), [sum(map(value, differences)) * share], dtype)
        (gradient,) = flambeau.autograd.grad(total, x, flambeau.tensor(3.0, dtype=dtype))
        compare(gradient, [3 * share * slope(d) for d in differences], dtype)


@pytest.mark.parametrize("name", LOSSES)
def test_differences_that_are_no_numbers_or_at_the_kink(name):
    loss, value, slope = LOSSES[name]
    differences = [math.nan, math.inf, -math.inf, WIDTH, -WIDTH, 0.0, 3e38]
    x = flambeau.tensor(differences, requires_grad=True)
    each = loss(x, flambeau.zeros(7), reduction="none")
    expected = [math.inf if name == "mse" and d == 3e38 else value(d) for d in differences]
    compare(each.detach(), expected, flambeau.float32)
    (gradient,) = flambeau.autograd.grad(each.sum(), x)
    slopes = [slope(d) for d in differences]
    slopes[-1] = math.inf if name == "mse" else slopes[-1]
    compare(gradient, slopes, flambeau.float32)


@pytest.mark.parametrize("name", LOSSES)
def test_any_layout(name):
    loss, value, _ = LOSSES[name]
    x, y = numbers(2, 3, 4, 5), numbers(2, 3, 4, 5, step=61)
    expected = loss(x, y, reduction="none")
    last = flambeau.channels_last
    wide = numbers(2, 3, 4, 10)
    layouts = {
        "channels last": (x.contiguous(memory_format=last), y.contiguous(memory_format=last)),
        "one of each": (x.contiguous(memory_format=last), y),
        "transposed": (x.mT.contiguous().mT, y.mT.contiguous().mT),
        "every other": (wide[..., ::2].copy_(x), y),
    }
    for layout, (a, b) in layouts.items():
        a = a.detach().requires_grad_()
        found = loss(a, b, reduction="none")
        assert flambeau.equal(found, expected), layout
        flambeau.testing.assert_close(loss(a, b), expected.mean())
        reference = x.clone().requires_grad_()
        for weights in (
            expected,
            flambeau.ones(()).expand(2, 3, 4, 5),
            expected.contiguous(memory_format=last),
        ):
            (gradient,) = flambeau.autograd.grad(found, a, weights, retain_graph=True)
            (wanted,) = flambeau.autograd.grad(loss(reference, y, reduction="none"), reference, weights)
            assert flambeau.equal(gradient, wanted), layout
    assert loss(*layouts["channels last"], reduction="none").is_contiguous(memory_format=last)
    single = loss(x[0, 0, 0, 0], y[0, 0, 0, 0])
    assert single.item() == pytest.approx(value(x[0, 0, 0, 0].item() - y[0, 0, 0, 0].item()))


@pytest.mark.parametrize("name", LOSSES)
def test_the_bits_of_a_sum_do_not_depend_on_the_threads(name):
    loss = LOSSES[name][0]
    x, y = flambeau.rand(300_001).requires_grad_(), flambeau.rand(300_001)
    before, results = flambeau.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            flambeau.set_num_threads(threads)
            total = loss(x, y)
            results.append((total.detach(), *flambeau.autograd.grad(total, x)))
    finally:
        flambeau.set_num_threads(before)
    for other in results[1:]:
        assert all(map(flambeau.equal, results[0], other))
    exact = loss(x.detach().double(), y.double())
    assert results[0][0].item() == pytest.approx(exact.item(), rel=2e-7)


def test_dtypes_are_promoted_and_integers_refused():
    x, y = numbers(5), numbers(5, step=61, dtype=flambeau.float64)
    assert F.mse_loss(x, y).dtype == flambeau.float64
    assert F.huber_loss(x, flambeau.arange(5)).dtype == flambeau.float32
    whole = flambeau.arange(4)
    assert F.l1_loss(whole, whole.flip(0), reduction="sum").item() == 8
    for loss in (F.mse_loss, F.smooth_l1_loss, F.huber_loss):
        with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
            loss(whole, whole)
    meta = F.mse_loss(flambeau.empty(2, 3, device="meta"), flambeau.empty(2, 3, device="meta"))
    assert meta.is_meta and meta.shape == ()


def test_weights():
    x, y, w = numbers(6), numbers(6, step=61), numbers(6, step=7).abs() + 0.1
    for loss in (F.mse_loss, F.l1_loss):
        each = loss(x, y, reduction="none")
        flambeau.testing.assert_close(loss(x, y, weight=w), (each * w).sum() / w.sum())
    flambeau.testing.assert_close(
        F.huber_loss(x, y, weight=w), (F.huber_loss(x, y, reduction="none") * w).mean()
    )
    with pytest.raises(ValueError, match="same size"):
        F.huber_loss(x, y, weight=w[:2])
