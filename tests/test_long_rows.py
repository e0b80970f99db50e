"""Reductions along rows of many blocks, cut among threads or not, and along many rows at once."""

import pytest

import flambeau as fl

LENGTHS = [17, 1023, 1024, 1025, 2048, 3 * 1024, 5 * 1024 + 7, 16 * 1024, 23 * 1024 + 1, 70_001]


@pytest.mark.parametrize("dtype", [fl.float32, fl.float64, fl.int64, fl.int32, fl.bfloat16], ids=str)
@pytest.mark.parametrize("n", LENGTHS)
def test_sums_and_extrema(n, dtype):
    # Sums of small integers are exact in any order.
    whole = (fl.arange(3 * n) % 7 - 3).reshape(3, n)
    whole[1, n // 2], whole[2, n - 1] = 50, -60
    x = whole.to(dtype)
    sums = [sum(row) for row in whole.tolist()]
    wide = {"dtype": fl.float32} if dtype == fl.bfloat16 else {}
    assert x.sum(1, **wide).tolist() == sums
    assert x.sum(**wide).item() == sum(sums)
    assert x.amax(1).tolist() == [3, 50, 3]
    assert x.amin(1).tolist() == [-3, -3, -60]
    assert x.max(1).indices[1].item() == n // 2
    assert x.min(1).indices[2].item() == n - 1


@pytest.mark.parametrize("n", LENGTHS)
def test_a_nan_is_found_wherever_it_is(n):
    for at in {0, n // 3, n - 1}:
        x = fl.ones(2, n)
        x[1, at] = float("nan")
        for result in (x.sum(1), x.amax(1), x.amin(1), x.mean(1)):
            assert result.isnan().tolist() == [False, True]


def test_any_number_of_threads_gives_the_same():
    before = fl.get_num_threads()
    for shape in [(131_072 + 3000,), (2, 200_000), (6, 70_001), (300, 4096), (5, 7, 9000)]:
        x = fl.rand(*shape)
        results = []
        for threads in (1, 2, 3):
            fl.set_num_threads(threads)
            results.append((x.sum(-1), x.sum(), x.amax(-1)))
        fl.set_num_threads(before)
        for other in results[1:]:
            assert all(fl.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [fl.bool, fl.uint8, fl.int16, fl.float32], ids=str)
@pytest.mark.parametrize("shape", [(3, 40, 17), (300, 20), (2, 200, 1100)], ids=str)
def test_values_and_indices_of_many_rows(shape, dtype):
    x = (fl.arange(fl.Size(shape).numel()) * 37 % 101 % 2).reshape(shape).to(dtype)
    values, indices = x.max(-1)
    assert fl.equal(values, x.amax(-1))
    assert fl.equal(x.gather(-1, indices.unsqueeze(-1)).squeeze(-1), values)
    least = x.min(-1)
    assert fl.equal(least.values, x.amin(-1))
