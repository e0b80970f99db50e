"""Reductions of segments and hashes: against loops in Python, and whatever does not fit is refused."""

import functools
import math
import operator
import struct

import pytest

import flambeau as t

DATA = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
REDUCE = {"sum": sum, "prod": math.prod, "max": max, "min": min, "mean": lambda v: sum(v) / len(v)}
EMPTY = {"sum": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf, "mean": math.nan}


@pytest.mark.parametrize("reduce", REDUCE)
@pytest.mark.parametrize("kind", ["lengths", "offsets"])
def test_segments(reduce, kind):
    given = t.tensor([2, 0, 3, 1] if kind == "lengths" else [0, 2, 2, 5, 6])
    got = t.segment_reduce(t.tensor(DATA), reduce, **{kind: given}).tolist()
    parts = [DATA[:2], [], DATA[2:5], DATA[5:]]
    assert got == pytest.approx([REDUCE[reduce](p) if p else EMPTY[reduce] for p in parts], nan_ok=True)


def test_initial_values_and_rows():
    x, lengths = t.tensor(DATA), t.tensor([4, 0, 2])
    call = functools.partial(t.segment_reduce, x, lengths=lengths, initial=4.0)
    assert call("sum").tolist() == [13, 4, 18] and call("prod").tolist() == [48, 4, 180]
    assert call("max").tolist() == [4, 4, 9] and call("min").tolist() == [1, 4, 4]
    assert call("mean").tolist() == [13 / 4, 4, 9]
    rows = x.reshape(2, 3)
    assert t.segment_reduce(rows, "sum", lengths=t.tensor([[1, 2], [3, 0]]), axis=1).tolist() == [
        [3, 5],
        [15, 0],
    ]
    assert t.segment_reduce(rows, "sum", lengths=t.tensor([2])).tolist() == [[4, 6, 13]]
    # What no segment holds is left out.
    assert t.segment_reduce(x, "sum", offsets=t.tensor([1, 2, 4])).tolist() == [1, 5]
    assert t.segment_reduce(x, "sum", lengths=t.tensor([1]), unsafe=True).tolist() == [3]


def test_gradients_of_segments():
    x = t.tensor([1.0, 5.0, 5.0, 2.0], requires_grad=True)
    expected = {
        "sum": [1, 1, 1, 1],
        "mean": [1 / 3, 1 / 3, 1 / 3, 1],
        "max": [0, 0.5, 0.5, 1],
        "min": [1, 0, 0, 1],
        "prod": [25, 5, 5, 1],
    }
    for reduce, values in expected.items():
        (grad,) = t.autograd.grad(t.segment_reduce(x, reduce, lengths=t.tensor([3, 1])).sum(), x)
        assert grad.tolist() == pytest.approx(values), reduce


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"lengths": t.tensor([2, 3])}, RuntimeError),
        ({"lengths": t.tensor([2, 5])}, RuntimeError),
        ({"lengths": t.tensor([7, 1]), "unsafe": True}, RuntimeError),
        ({"lengths": t.tensor([2**62, 2**62, 2**62, 2**62, 6]), "unsafe": True}, RuntimeError),
        ({"lengths": t.tensor([-1, 7])}, RuntimeError),
        ({"lengths": t.tensor(6)}, RuntimeError),
        ({"lengths": t.tensor([[6]])}, RuntimeError),
        ({"lengths": t.tensor([6.0])}, NotImplementedError),
        ({"lengths": t.tensor([6]), "axis": 1}, RuntimeError),
        ({"offsets": t.tensor([0, 7])}, RuntimeError),
        ({"offsets": t.tensor([4, 2])}, RuntimeError),
        ({"offsets": t.tensor([-1, 2])}, RuntimeError),
        ({"offsets": t.tensor([], dtype=t.int64)}, RuntimeError),
        ({"indices": t.tensor([0])}, RuntimeError),
        ({}, RuntimeError),
    ],
)
def test_what_does_not_fit(arguments, error):
    with pytest.raises(error):
        t.segment_reduce(t.tensor(DATA), "sum", **arguments)


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def test_hashes():
    x = t.tensor(DATA[:5] * 7)
    assert t.hash_tensor(x).item() == functools.reduce(operator.xor, map(bits, DATA[:5] * 7))
    rows = x.to(t.bfloat16).reshape(5, 7)
    expected = [functools.reduce(operator.xor, map(bits, row)) for row in rows.tolist()]
    assert t.hash_tensor(rows, 1).tolist() == expected
    assert t.hash_tensor(rows, (1,), keepdim=True).shape == (5, 1)
    assert t.hash_tensor(rows.t(), 0).tolist() == expected
    assert t.hash_tensor(t.tensor([-1], dtype=t.int8)).item() == 2**64 - 1
    assert t.hash_tensor(t.tensor(True)).item() == 1 and t.hash_tensor(t.ones(0, 2), 1).shape == (0,)
    with pytest.raises(RuntimeError, match="Expected reduction dim to be specified"):
        t.hash_tensor(t.ones(0))
    with pytest.raises(IndexError, match="non-zero size"):
        t.hash_tensor(t.ones(2, 0), 1)
    with pytest.raises(RuntimeError, match="multiple times"):
        t.hash_tensor(t.ones(2, 2), (0, -2))
    with pytest.raises(RuntimeError, match="dtype uint64"):
        t.hash_tensor(t.ones(2), out=t.zeros(()))


def test_reductions_by_either_of_their_names():
    data = t.tensor([[1.0, 4.0], [3.0, 2.0], [5.0, 0.0]])
    index, lengths = t.tensor([[0, 0], [0, 0], [1, 1]]), t.tensor([2, 1])
    matrix = t.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).to_sparse_csr()
    for names, expected in ((("max", "amax"), [[3, 4], [5, 0]]), (("min", "amin"), [[1, 2], [5, 0]])):
        for name in names:
            x = data.clone().requires_grad_()
            found = t.zeros(2, 2).scatter_reduce(0, index, x, name, include_self=False)
            assert found.tolist() == expected
            found.sum().backward()
            assert x.grad.sum(0).tolist() == [2, 2] and x.grad.max() == 1
            assert t.segment_reduce(data, name, lengths=lengths).tolist() == expected
            assert t.sparse.mm(matrix, data, name).tolist() == expected


def test_reductions_that_an_operator_does_not_know():
    x, index = t.ones(3), t.tensor([0, 1, 0])
    for call, text in (
        (lambda: x.scatter_reduce(0, index, x, "add"), "sum, prod, mean, amax or amin, got add"),
        (lambda: x.scatter(0, index, x, reduce="amax"), "either add or multiply"),
        (lambda: x.index_reduce(0, index, x, "max"), "one of prod, mean, amax or amin but got max"),
        (lambda: t.segment_reduce(x, "add", lengths=index), "amax or amin, got add"),
    ):
        with pytest.raises(RuntimeError, match=text):
            call()
