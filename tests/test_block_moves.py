"""Copies between layouts, and results so large that they are written past the cache."""

import itertools

import pytest

import flambeau as fl

SHAPES = [
    (5, 7),
    (64, 64),
    (33, 70),
    (130, 257),
    (3, 40, 50),
    (20, 30, 3),
    (2, 3, 17, 19),
    (2, 64, 14, 14),
    (1, 30, 1, 2),
]
DTYPES = [fl.uint8, fl.float16, fl.int32, fl.float64, fl.complex128]


def permuted(values, shape, order):
    """The nested list of a row-major tensor with its dimensions in another order."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]

    def build(dims, offset):
        if not dims:
            return values[offset]
        return [build(dims[1:], offset + i * strides[dims[0]]) for i in range(shape[dims[0]])]

    return build(list(order), 0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_order_of_dimensions(shape, dtype):
    count = fl.Size(shape).numel()
    values = [i % 251 for i in range(count)]
    x = fl.tensor(values).reshape(shape).to(dtype)
    for order in itertools.permutations(range(len(shape))):
        expected = permuted(values, shape, order)
        assert x.permute(order).contiguous().tolist() == expected
        # Into memory that is laid out in another order still.
        out = fl.zeros([shape[i] for i in reversed(order)], dtype=dtype).permute(
            *range(len(shape) - 1, -1, -1)
        )
        assert out.copy_(x.permute(order)).tolist() == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_windows_of_matrices(dtype):
    values = [i % 251 for i in range(100 * 90)]
    whole = fl.tensor(values).reshape(100, 90).to(dtype)
    for rows, columns in [
        (slice(1, 98), slice(3, 80)),
        (slice(0, 99, 2), slice(0, 90)),
        (slice(5, 90), slice(1, 90, 3)),
    ]:
        expected = [[values[r * 90 + c] for r in range(100)[rows]] for c in range(90)[columns]]
        assert whole[rows, columns].t().contiguous().tolist() == expected
        target = fl.full((95, 105), 7, dtype=dtype)
        target[: len(expected), 2 : 2 + len(expected[0])] = whole[rows, columns].t()
        assert target[: len(expected), 2 : 2 + len(expected[0])].tolist() == expected
        assert (target[:, :2] == 7).all()
        assert (target[:, 2 + len(expected[0]) :] == 7).all()
        assert (target[len(expected) :] == 7).all()


@pytest.mark.parametrize(("rows", "columns"), [(2048, 2048), (1999, 2003), (1100, 4097)])
@pytest.mark.parametrize("dtype", [fl.float32, fl.float64], ids=str)
def test_large_transposes(rows, columns, dtype):
    x = fl.arange(rows * columns).reshape(rows, columns).to(dtype)
    expected = fl.arange(columns).unsqueeze(1) + fl.arange(rows) * columns
    assert fl.equal(x.t().contiguous(), expected.to(dtype))


@pytest.mark.parametrize("start", [0, 1])
def test_large_results(start):
    # 36 MB: beyond what is worth keeping in a cache; a start of 1 leaves the lines unaligned.
    x = fl.arange(9_000_001, dtype=fl.float32)[start:]
    for result, expected in [
        (x + x, lambda part: 2 * part),
        (-x, lambda part: 0 - part),
        (x.clamp(5, 8e6), lambda part: part.clamp(5, 8e6)),
        (x.to(fl.float64), lambda part: part.to(fl.float64)),
        (x.clone(), lambda part: part),
        (fl.where(x > 77, x, 0.0), lambda part: part * (part > 77)),
    ]:
        for begin in range(0, x.numel(), 1_000_000):
            part = slice(begin, begin + 1_000_000)
            assert fl.equal(result[part], expected(x[part]))
    y = x.clone()
    assert fl.equal(y.add_(1), x + 1)
    assert fl.equal(fl.add(x, 1, out=y), x + 1)


def test_middle_sizes_in_either_direction():
    # Operators on a few MB take turns in direction; the result is the same.
    x = fl.arange(1_000_003, dtype=fl.float32)
    first, second, third = x * 3, x * 3, x * 3
    assert fl.equal(first, second)
    assert fl.equal(second, third)
    assert first[::100_000].tolist() == [float(3 * i) for i in range(0, 1_000_003, 100_000)]
    assert first[-1].item() == 3_000_006.0


@pytest.mark.parametrize(
    ("source", "target"),
    [("float32", "float16"), ("float32", "bfloat16"), ("float16", "float32"), ("int64", "float64")],
)
def test_conversions_written_past_the_cache(source, target):
    """A long array gives what its parts give."""
    count, part = 5_000_003, 10_001
    x = (fl.arange(part) % 4099 - 2000).to(getattr(fl, source)).repeat(count // part + 1)[:count]
    whole, short = x.to(getattr(fl, target)), x[:part].to(getattr(fl, target))
    assert bool((whole[: count // part * part].reshape(-1, part) == short).all())
    assert bool((whole[count // part * part :] == short[: count % part]).all())


@pytest.mark.parametrize("dtype", [fl.bool, fl.uint8, fl.float16, fl.float32, fl.int64, fl.complex128])
@pytest.mark.parametrize("value", [0, 1, -0.0, float("nan"), 37])
def test_fill(dtype, value):
    for count in (0, 1, 31, 2048, 5000, 100_003):
        around = fl.full((count + 2,), 1, dtype=dtype)
        filled = around[1 : count + 1]
        if dtype in (fl.uint8, fl.int64) and value != value:
            continue
        filled.fill_(value)
        one = fl.tensor(value, dtype=dtype)
        same = (filled == one) if value == value else (filled != filled) if dtype != fl.bool else filled
        assert bool(same.all())
        assert bool((around[:1] == 1).all()) and bool((around[-1:] == 1).all())
        if value == 0 and dtype.is_floating_point:
            assert bool((fl.signbit(filled) == fl.signbit(one)).all())


def test_indices_out_of_bounds_among_many():
    """Threads check an index in parts; the error names the first that is wrong."""
    x, index = fl.arange(100), fl.arange(200_000) % 100
    assert bool((x[index - 100] == index).all())
    index[150_000], index[70_000] = -101, 100
    with pytest.raises(IndexError, match="index 100 is out of bounds for dimension 0 with size 100"):
        x[index]
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.gather(0, index)
