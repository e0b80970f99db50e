"""Pointwise operators on operands that disagree about the fastest dimension, or whose elements lie apart."""

import ctypes
import itertools
import mmap

import pytest

import flambeau as fl

DTYPES = [fl.bool, fl.uint8, fl.bfloat16, fl.float32, fl.int64, fl.complex128]
SHAPES = [
    (9, 8),
    (64, 64),
    (100, 33),
    (17, 300),
    (3, 1000),
    (1000, 3),
    (5, 40, 50),
    (12, 16, 3),
    (2, 9, 4, 33),
]


def counting(shape, dtype, limit=100):
    return (fl.arange(fl.Size(shape).numel()) % limit).reshape(shape).to(dtype)


def reordered(x, order):
    """The same values, with memory laid out in another order of dimensions."""
    out = fl.empty([x.shape[i] for i in order], dtype=x.dtype)
    inverse = [order.index(i) for i in range(x.ndim)]
    return out.copy_(x.permute(*order)).permute(*inverse)


def spread(x, steps):
    """The same values, so many elements apart."""
    whole = fl.zeros([n * step for n, step in zip(x.shape, steps, strict=True)], dtype=x.dtype)
    window = whole[tuple(slice(None, None, step) for step in steps)]
    return window.copy_(x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_order_of_every_operand(shape, dtype):
    a, b = counting(shape, dtype), counting(shape, dtype, 7)
    expected, same, chosen = a + b, a == b, fl.where(b.bool(), a, b)
    orders = list(itertools.permutations(range(len(shape))))[:6]
    for first, second in itertools.product(orders, orders):
        x, y = reordered(a, first), reordered(b, second)
        assert fl.equal(x + y, expected)
        assert fl.equal(x == y, same)
        assert fl.equal(fl.where(y.bool(), x, y), chosen)
        out = reordered(fl.zeros_like(a), first)
        assert fl.equal(fl.add(a, y, out=out), expected)
        assert fl.equal(reordered(a, first).add_(y), expected)


@pytest.mark.parametrize("other", [fl.uint8, fl.float16, fl.float64], ids=str)
def test_turned_operands_are_converted(other):
    a, b = counting((70, 90), fl.float32), counting((90, 70), other)
    assert fl.equal(a + b.t(), a + b.t().contiguous())
    assert fl.equal(b.t() + a, a + b.t().contiguous())


def test_broadcast_beside_turned():
    a, b, row, column = (counting(s, fl.float32) for s in ((300, 70), (70, 300), (70,), (300, 1)))
    whole = b.t().contiguous()
    assert fl.equal(fl.addcmul(a, b.t(), row), fl.addcmul(a, whole, row))
    assert fl.equal(fl.addcmul(column, b.t(), a), fl.addcmul(column, whole, a))
    assert fl.equal(fl.addcmul(b.t(), a, column), fl.addcmul(whole, a, column))


@pytest.mark.parametrize("shape", [(2048, 1100), (1001, 2100)], ids=str)
def test_large_results_of_turned_operands(shape):
    # 8 MB and more: written past the cache, where the rows are aligned.
    a, b = fl.arange(shape[0] * shape[1]).float().reshape(shape), fl.ones(shape[1], shape[0])
    for result in (a + b.t(), b.t() + a, a - -b.t()):
        assert fl.equal(result, a + 1)
    assert fl.equal(a.double() + b.t(), a.double() + 1)


def test_any_number_of_threads_gives_the_same():
    a, b = fl.rand(700, 900), fl.rand(900, 700)
    before = fl.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        fl.set_num_threads(threads)
        results.append(fl.exp(b.t()) * a)
    fl.set_num_threads(before)
    assert all(fl.equal(r, results[0]) for r in results)


@pytest.mark.parametrize("dtype", [*DTYPES, fl.int16], ids=str)
@pytest.mark.parametrize("step", [2, 3, 4, 5, 16, 40])
def test_elements_apart(step, dtype):
    for n in (1, 2, 7, 15, 16, 17, 31, 33, 64, 65, 127, 500, 513, 1100):
        a, b = counting((n,), dtype), counting((n,), dtype, 7)
        x, y = spread(a, (step,)), spread(b, (step,))
        assert fl.equal(x + y, a + b)
        assert fl.equal(x + b, a + b)
        assert fl.equal(x.clone(), a)
        assert fl.equal(x.to(fl.complex64), a.to(fl.complex64))
        assert fl.equal(fl.add(a, b, out=spread(a, (step,))), a + b)


@pytest.mark.parametrize("step", [2, 3, 4])
def test_nothing_beyond_the_last_element_is_read(step):
    # The window ends with its memory: after it comes a page that nobody may read.
    page = mmap.PAGESIZE
    for pages in (1, 3):
        memory = mmap.mmap(-1, (pages + 1) * page)
        whole = fl.frombuffer(memory, dtype=fl.float32)[: pages * page // 4]
        n = whole.numel()
        whole.copy_(fl.arange(n))
        guard = ctypes.c_void_p(whole.data_ptr() + pages * page)
        protect = ctypes.CDLL(None).mprotect
        assert protect(guard, ctypes.c_size_t(page), 0) == 0
        try:
            last = whole[(n - 1) % step :: step]
            for result in (last + 0, last + last.clone() - last, last.clone()):
                assert fl.equal(result, fl.arange((n - 1) % step, n, step).float())
        finally:
            assert protect(guard, ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE) == 0


@pytest.mark.parametrize("n", [9 << 20, (9 << 20) + 3])
def test_large_results_of_elements_apart(n):
    # 36 MB: written past the cache, block by block.
    x, y = fl.arange(2 * n, dtype=fl.float32), fl.arange(3 * n, dtype=fl.float32)
    i = fl.arange(n, dtype=fl.float32)
    assert fl.equal(x[::2] + x[1::2], x[::2].clone() + x[1::2].clone())
    assert fl.equal(x[::2] - i, x[::2].clone() - i)
    assert fl.equal(i * y[::3], i * y[::3].clone())
    assert fl.equal(x[::2] - x[5], x[::2].clone() - 5)
