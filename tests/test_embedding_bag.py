"""Bags of rows against the rows looked up one by one."""

import itertools

import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau import nn

INDICES = [1, 2, 4, 5, 4, 3, 0, 4]
OFFSETS = [0, 2, 2, 5, 7]


def table(rows=6, width=3, dtype=flambeau.float64):
    values = [((i * 37 + 11) % 101) / 25 - 2 for i in range(rows * width)]
    return flambeau.tensor(values, dtype=dtype).reshape(rows, width)


def bags_of(indices, offsets, last):
    ends = offsets[1:] if last else [*offsets[1:], len(indices)]
    return [list(range(a, b)) for a, b in zip(offsets, ends, strict=False)]


def expected_bags(weight, mode, last, padding, samples):
    out = []
    for entries in bags_of(INDICES, OFFSETS, last):
        rows = [
            weight[INDICES[e]] * (1 if samples is None else samples[e])
            for e in entries
            if INDICES[e] != padding
        ]
        if not rows:
            out.append(weight[0] * 0)
        else:
            rows = flambeau.stack(rows)
            out.append({"sum": rows.sum(0), "mean": rows.mean(0), "max": rows.amax(0)}[mode])
    return flambeau.stack(out)


CASES = [
    (mode, last, padding, weighted)
    for mode, last, padding, weighted in itertools.product(("sum", "mean", "max"), (False, True), (None, 4), (False, True))
    if mode == "sum" or not weighted
]  # fmt: skip


@pytest.mark.parametrize("mode, last, padding, weighted", CASES)
@pytest.mark.parametrize("index_dtype", ["int64", "int32"])
def test_modes(mode, last, padding, weighted, index_dtype):
    weight = table().requires_grad_()
    samples = (
        flambeau.linspace(0.3, 2, len(INDICES), dtype=flambeau.float64).requires_grad_() if weighted else None
    )
    dtype = getattr(flambeau, index_dtype)
    found = F.embedding_bag(
        flambeau.tensor(INDICES, dtype=dtype), weight, flambeau.tensor(OFFSETS, dtype=dtype), mode=mode,
        per_sample_weights=samples, include_last_offset=last, padding_idx=padding,
    )  # fmt: skip
    expected = expected_bags(weight, mode, last, padding, samples)
    flambeau.testing.assert_close(found, expected)
    inputs = (weight, samples) if weighted else (weight,)
    g = table(*found.shape)
    for a, b in zip(
        flambeau.autograd.grad(found, inputs, g), flambeau.autograd.grad(expected, inputs, g), strict=True
    ):
        flambeau.testing.assert_close(a, b)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_small_floats_are_summed_in_float32(dtype):
    weight = table(40, 300, getattr(flambeau, dtype))
    indices = flambeau.arange(40).repeat(3)
    found = F.embedding_bag(indices, weight, flambeau.tensor([0, 50]), mode="sum")
    exact = flambeau.stack([weight.double()[indices[:50]].sum(0), weight.double()[indices[50:]].sum(0)])
    assert found.dtype == weight.dtype
    flambeau.testing.assert_close(
        found.double(), exact, rtol=2**-7 if dtype == "bfloat16" else 2**-10, atol=1e-2
    )


def test_scale_grad_by_freq_counts_over_all_bags():
    weight = table().requires_grad_()
    indices = flambeau.tensor([1, 1, 2, 1])
    F.embedding_bag(
        indices, weight, flambeau.tensor([0, 2]), mode="sum", scale_grad_by_freq=True
    ).sum().backward()
    assert weight.grad.tolist() == [[0.0] * 3, [1.0] * 3, [1.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3]


def test_rows_of_a_matrix_are_bags():
    weight, indices = table(), flambeau.tensor(INDICES).view(2, 4)
    found = F.embedding_bag(indices, weight, mode="max")
    assert flambeau.equal(found, weight[indices].amax(1))
    assert nn.EmbeddingBag(6, 3)(indices).shape == (2, 3)
    assert F.embedding_bag(indices[:0], weight).shape == (0, 3)
    assert flambeau.equal(F.embedding_bag(indices, weight, mode="max", include_last_offset=True), found)


def test_what_the_operator_returns_beside_the_bags():
    out, bag_of, sizes, rows = flambeau.embedding_bag(
        table(), flambeau.tensor(INDICES), flambeau.tensor(OFFSETS), mode=2, padding_idx=4
    )
    assert bag_of.tolist() == [0, 0, 2, 2, 2, 3, 3, 4]
    assert sizes.tolist() == [2, 0, 1, 2, 0]
    assert flambeau.equal(table().gather(0, rows)[[0, 2, 3]], out[[0, 2, 3]])


def test_max_norm_scales_the_rows_that_are_looked_up():
    weight = flambeau.tensor([[3.0, 4.0], [6.0, 8.0], [0.3, 0.4]])
    F.embedding_bag(flambeau.tensor([[1, 1, 2]]), weight, max_norm=5.0)
    flambeau.testing.assert_close(weight, flambeau.tensor([[3.0, 4.0], [3.0, 4.0], [0.3, 0.4]]))
    F.embedding(flambeau.tensor([0, 2]), weight, max_norm=1.0, norm_type=1.0)
    flambeau.testing.assert_close(weight, flambeau.tensor([[3 / 7, 4 / 7], [3.0, 4.0], [0.3, 0.4]]))
    base = flambeau.tensor([[3.0, 6.0], [4.0, 8.0]])
    flambeau.embedding_renorm_(base.t(), flambeau.tensor([1]), 5.0, 2.0)
    flambeau.testing.assert_close(base, flambeau.tensor([[3.0, 3.0], [4.0, 4.0]]))


def test_sums_do_not_depend_on_threads():
    before = flambeau.get_num_threads()
    flambeau.manual_seed(0)
    weight, indices = flambeau.randn(500, 65, requires_grad=True), flambeau.randint(500, (6000,))
    found = []
    try:
        for threads in (1, 3):
            flambeau.set_num_threads(threads)
            out = F.embedding_bag(indices, weight, flambeau.arange(0, 6000, 7), mode="mean")
            found.append((out, *flambeau.autograd.grad(out.square().sum(), weight)))
    finally:
        flambeau.set_num_threads(before)
    assert all(flambeau.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    "indices, offsets, options, error, text",
    [
        ([1, 2], [1], {}, RuntimeError, "offsets\\[0\\] has to be 0"),
        ([1, 2], [0, 3], {}, RuntimeError, "can not be greater than input's length"),
        ([1, 2, 3], [0, 2, 1], {}, RuntimeError, "must not decrease"),
        ([1, 2, 3], [0, 2**40, 1], {}, RuntimeError, "must not decrease"),
        ([6], [0], {}, RuntimeError, "takes value 6 which is not in the valid range"),
        ([0, 1, -1, 2], [0, 1], {}, RuntimeError, "Index 2 of input takes value -1 which is not in the valid"),
        ([0, 1, 9], [0, 2], {"include_last_offset": True}, RuntimeError, "Index 2 of input takes value 9"),
        ([0, 6], [0], {"mode": "max"}, RuntimeError, "Index 1 of input takes value 6 which is not in the valid"),
        ([-1], [0], {"mode": "max"}, RuntimeError, "takes value -1"),
        ([1.0], [0], {}, RuntimeError, "Long, Int"),
        ([1], [0], {"padding_idx": 6}, RuntimeError, "padding_idx must be within"),
        ([1], [0], {"mode": "median"}, ValueError, "mode has to be one of"),
        ([1], [0], {"mode": "max", "scale_grad_by_freq": True}, ValueError, "max mode does not support"),
        ([1], [0], {"mode": "sum", "per_sample_weights": flambeau.ones(1)}, RuntimeError, "to have the same type"),
        ([1], [[0]], {}, ValueError, "1D Tensor"),
        ([[1]], [0], {}, ValueError, "offsets has to be None"),
        ([], [], {"include_last_offset": True}, RuntimeError, "should be at least 1"),
    ],
)  # fmt: skip
def test_impossible_calls_are_refused(indices, offsets, options, error, text):
    indices = flambeau.tensor(indices) if indices else flambeau.tensor([0])[:0]
    offsets = flambeau.tensor(offsets) if offsets else flambeau.tensor([0])[:0]
    with pytest.raises(error, match=text):
        F.embedding_bag(indices, table(), offsets, **options)
