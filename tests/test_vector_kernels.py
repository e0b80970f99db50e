"""Kernels that take whole vectors at a time, at the sizes where vectors end: against lists and closed forms."""

import math
import os

import pytest

import flambeau as fl

LENGTHS = [1, 7, 8, 15, 16, 17, 31, 64, 100, 1000]


def pattern(n, seed=0):
    """Numbers below 1000 without an order, exact in every dtype that is used here."""
    return [(i * 7919 + seed * 104729) % 997 for i in range(n)]


@pytest.mark.parametrize("dtype", [fl.uint8, fl.int16, fl.float32, fl.int64, fl.complex128], ids=str)
@pytest.mark.parametrize("n", LENGTHS)
def test_masks_pick_elements_in_order(n, dtype):
    values = [v % 251 for v in pattern(n)]
    x = fl.tensor(values).to(dtype)
    for name, keep in {
        "some": [v % 3 == 0 for v in values],
        "all": [True] * n,
        "none": [False] * n,
        "last": [False] * (n - 1) + [True],
    }.items():
        mask = fl.tensor(keep)
        expected = [v for v, k in zip(values, keep, strict=True) if k]
        assert x[mask].tolist() == expected, name
        assert fl.masked_select(x, mask).tolist() == expected, name
        assert mask.nonzero().flatten().tolist() == [i for i, k in enumerate(keep) if k], name
        assert mask.count_nonzero().item() == len(expected)


def test_masks_of_several_dimensions_and_of_other_layouts():
    x = fl.arange(60).reshape(3, 4, 5)
    assert x[x % 7 == 0].tolist() == list(range(0, 60, 7))
    turned = x.permute(2, 0, 1)
    expected = [v for plane in turned.tolist() for row in plane for v in row if v % 7 == 0]
    assert turned[turned % 7 == 0].tolist() == expected
    assert fl.tensor(5)[fl.tensor(True)].tolist() == [5]
    grown = fl.rand(4, 4, requires_grad=True)
    grown[grown > 2].sum().backward()
    assert (grown.grad == 0).all()


@pytest.mark.parametrize("dtype", [fl.float32, fl.float64, fl.int32, fl.int64, fl.float16], ids=str)
@pytest.mark.parametrize("width", [1, 5, 16, 33])
def test_index_add_sums_rows(width, dtype):
    ids = [(i * 5) % 7 for i in range(40)]
    rows = [[(i + j) % 9 for j in range(width)] for i in range(40)]
    expected = [[sum(rows[i][j] for i in range(40) if ids[i] == r) for j in range(width)] for r in range(7)]
    target = fl.zeros(7, width, dtype=dtype)
    target.index_add_(0, fl.tensor(ids), fl.tensor(rows).to(dtype))
    assert target.tolist() == expected


@pytest.mark.parametrize("rows", [1, 8, 15, 16, 17, 40])
@pytest.mark.parametrize("n", LENGTHS)
def test_scans_along_rows(rows, n):
    values = [pattern(n, seed) for seed in range(rows)]
    x = fl.tensor(values, dtype=fl.float32)
    expected = []
    for row in values:
        total, line = 0, []
        for v in row:
            total += v
            line.append(total)
        expected.append(line)
    assert x.cumsum(1).tolist() == expected
    signs = fl.where(x % 2 == 0, 1.0, -1.0)
    products = [[math.prod(-1 if v % 2 else 1 for v in row[: i + 1]) for i in range(n)] for row in values]
    assert signs.cumprod(1).tolist() == products


def test_a_scan_has_the_same_bits_whichever_rows_stand_beside_it():
    x = fl.rand(40, 100)
    together = x.cumsum(1)
    for r in (0, 15, 16, 33, 39):
        assert fl.equal(x[r : r + 1].cumsum(1)[0], together[r])


@pytest.mark.parametrize("dtype", [fl.float32, fl.float64, fl.int64, fl.float16], ids=str)
@pytest.mark.parametrize("n", [2, 3, *LENGTHS, 1024])
def test_reductions_of_short_rows(n, dtype):
    rows = 37
    values = [[v % 13 for v in pattern(n, seed)] for seed in range(rows)]
    x = fl.tensor(values).to(dtype)
    assert x.sum(-1).tolist() == [fl.tensor(float(sum(row))).to(dtype).item() for row in values]
    assert x.amax(-1).tolist() == [max(row) for row in values]
    assert x.amin(-1).tolist() == [min(row) for row in values]
    assert x.count_nonzero(-1).tolist() == [sum(v != 0 for v in row) for row in values]
    assert (x > 11).any(-1).tolist() == [max(row) > 11 for row in values]
    if n > 1:
        assert x[:, 1:].sum(-1).tolist() == [
            fl.tensor(float(sum(row[1:]))).to(dtype).item() for row in values
        ]
    if dtype.is_floating_point:
        x[3, n // 2] = math.nan
        assert [r for r in range(rows) if math.isnan(x.amax(-1)[r].item())] == [3]


def test_a_short_row_has_the_same_bits_wherever_it_stands():
    x = fl.rand(50, 77)
    together = x.sum(-1)
    for r in (0, 15, 16, 47, 49):
        assert fl.equal(x[r : r + 1].sum(-1)[0], together[r])
    assert fl.equal(x[1:].sum(-1), together[1:])


@pytest.mark.parametrize("n", [40, 255, 256, 1000, 5000])
@pytest.mark.parametrize("k", [1, 10, 32, 33])
def test_topk(n, k):
    values = pattern(n) + [500] * 20
    for dtype in (fl.float32, fl.int32, fl.int64):
        x = fl.tensor(values).to(dtype)
        for largest in (True, False):
            top, at = x.topk(k, largest=largest)
            assert top.tolist() == sorted(values, reverse=largest)[:k]
            assert [values[i] for i in at.tolist()] == top.tolist()
            assert len(set(at.tolist())) == k
    x = fl.tensor(values, dtype=fl.float32)
    x[n // 2] = math.nan
    assert math.isnan(x.topk(k)[0][0].item())
    assert fl.full((n,), 2.0).topk(k)[0].tolist() == [2.0] * k


def test_cdist_is_one_product_without_gradient_and_the_same_with():
    a, b = fl.rand(60, 3), fl.rand(40, 3)
    exact = (a.unsqueeze(1) - b).pow(2).sum(-1).sqrt()
    assert fl.allclose(fl.cdist(a, b), exact, atol=1e-5)
    assert fl.allclose(fl.cdist(a.requires_grad_(), b), exact, atol=1e-5)
    assert (fl.cdist(fl.ones(30, 2), fl.ones(30, 2)) == 0).all()


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="under AddressSanitizer no memory is kept"
)
def test_memory_that_waits_can_be_given_back():
    block = fl.empty(10_000_000)
    held = fl.cpu.memory_stats()
    del block
    after = fl.cpu.memory_stats()
    assert held["in_use"] - after["in_use"] >= 40_000_000
    assert after["cached"] >= 40_000_000
    fl.cpu.empty_cache()
    assert fl.cpu.memory_stats()["cached"] < 40_000_000


@pytest.mark.parametrize("dtype", [fl.float32, fl.float64], ids=str)
def test_sine_and_cosine_stay_between_minus_one_and_one(dtype):
    # The nearest numbers to multiples of pi / 2, and neighbours of those.
    multiples = (fl.arange(100_000, dtype=fl.float64) * (math.pi / 2)).to(dtype)
    bits = fl.int32 if dtype is fl.float32 else fl.int64
    for shift in range(-3, 4):
        x = (multiples.view(bits)[1:] + shift).view(dtype)
        for y in (x.sin(), x.cos(), (-x).sin()):
            assert y.abs().max().item() == 1
    if dtype is fl.float32:  # every number around pi / 2
        start = fl.tensor([1.5], dtype=dtype).view(bits).item()
        x = fl.arange(start, fl.tensor([1.65], dtype=dtype).view(bits).item(), dtype=bits).view(dtype)
        assert x.sin().max().item() == 1
    assert math.isnan(fl.tensor([math.nan, 1.0] * 9, dtype=dtype).sin()[2])
