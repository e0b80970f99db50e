"""Reductions and scans against PyTorch: values, dtypes, shapes, and the errors of impossible calls."""

import itertools
import math

import pytest

import flambeau

torch = pytest.importorskip("torch", reason="PyTorch, the peer of these comparisons, is not installed")

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
]
REAL = [d for d in DTYPES if d != "complex64"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
SHAPES = [(), (1,), (7,), (2, 3), (33, 5), (3, 40, 17), (2, 3, 2, 5)]


def pair(shape, dtype, seed=0):
    """The same tensor in both libraries."""
    generator = torch.Generator().manual_seed(seed)
    if dtype.startswith(("float", "bfloat", "complex")):
        theirs = torch.randn(shape, generator=generator).to(getattr(torch, dtype))
    else:
        theirs = torch.randint(0, 4, shape, generator=generator).to(getattr(torch, dtype))
    ours = flambeau._C.tensor_from_data(theirs.tolist(), getattr(flambeau, dtype))
    return ours, theirs


def check(ours, theirs):
    if isinstance(theirs, tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            check(a, b)
        return
    assert str(ours.dtype) == str(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    back = torch.tensor(ours.tolist(), dtype=theirs.dtype).reshape(theirs.shape)
    tolerance = {"torch.float16": 2e-3, "torch.bfloat16": 2e-2}.get(str(theirs.dtype), 1e-5)
    torch.testing.assert_close(back, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)


def agree(call, x):
    ours, theirs = x
    check(call(flambeau, ours), call(torch, theirs))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_over_all_and_along_each_dimension(shape, dtype):
    x = pair(shape, dtype)
    real, floating = dtype != "complex64", dtype in FLOATS
    dims = [None, *range(-len(shape), len(shape))]
    if len(shape) > 1:
        dims += itertools.combinations(range(len(shape)), 2)
    for dim, keepdim in itertools.product(dims, (False, True)):
        single = dim is None or isinstance(dim, int)
        agree(lambda f, t: f.sum(t, dim, keepdim), x)  # noqa: B023
        for name in ("any", "all"):
            agree(lambda f, t: getattr(f, name)(t, dim=dim, keepdim=keepdim), x)  # noqa: B023
        agree(lambda f, t: f.count_nonzero(t, dim), x)  # noqa: B023
        if real:
            for name in ("amax", "amin"):
                agree(lambda f, t: getattr(f, name)(t, () if dim is None else dim, keepdim), x)  # noqa: B023
        if floating:
            agree(lambda f, t: f.mean(t, dim, keepdim), x)  # noqa: B023
        if single and dim is not None and real:
            agree(lambda f, t: f.max(t, dim, keepdim), x)  # noqa: B023
            agree(lambda f, t: f.min(t, dim, keepdim), x)  # noqa: B023
            agree(lambda f, t: f.cummax(t, dim), x)  # noqa: B023
            agree(lambda f, t: f.cumsum(t, dim), x)  # noqa: B023
        if single and real and dtype != "bool":
            agree(lambda f, t: f.argmax(t, dim, keepdim), x)  # noqa: B023
            agree(lambda f, t: f.argmin(t, dim, keepdim), x)  # noqa: B023


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(7,), (33, 5), (3, 40, 17)])
def test_moments_and_norms(shape, dtype):
    x = pair(shape, dtype)
    for dim in [None, *range(len(shape))]:
        for correction in (0, 1, 2):
            agree(lambda f, t: f.var(t, dim, correction=correction), x)  # noqa: B023
            agree(lambda f, t: f.std(t, dim, correction=correction, keepdim=True), x)  # noqa: B023
            agree(lambda f, t: f.var_mean(t, dim, correction=correction), x)  # noqa: B023
        for order in (0, 0.5, 1, 2, 3, math.inf, -math.inf):
            check(flambeau.linalg_vector_norm(x[0], order, dim), torch.linalg.vector_norm(x[1], order, dim))


def test_nan_wins_and_the_first_of_equals_is_found():
    x = pair((40, 50), "float32")
    nan = x[1].clone()
    nan[3, 5] = nan[7, 5] = nan[30, 20] = math.nan
    ours = flambeau._C.tensor_from_data(nan.tolist(), flambeau.float32)
    for dim in (0, 1):
        check(flambeau.max(ours, dim), torch.max(nan, dim))
        check(flambeau.amin(ours, dim), torch.amin(nan, dim))
        check(flambeau.nansum(ours, dim), torch.nansum(nan, dim))
    ties = pair((40, 50), "int32")
    for dim in (None, 0, 1):
        agree(lambda f, t: f.argmax(t, dim), ties)  # noqa: B023


@pytest.mark.parametrize("shape", [(300001,), (5, 100003), (100003, 5), (700, 300)])
def test_bits_do_not_depend_on_threads(shape):
    x = flambeau.empty(shape)
    x.fill_(0.1)
    threads = flambeau.get_num_threads()
    try:
        for dim in (None, *range(len(shape))):
            results = []
            for n in (1, 2, 5):
                flambeau.set_num_threads(n)
                results.append((x.sum(dim).tolist(), x.var(dim).tolist()))
            assert results[0] == results[1] == results[2]
    finally:
        flambeau.set_num_threads(threads)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f, t: t.sum(2), "Dimension out of range"),
        (lambda f, t: t.sum((0, 0)), "appears multiple times"),
        (
            lambda f, t: f.empty(0, 3).max(),
            r"max\(\): Expected reduction dim to be specified for input.numel\(\) == 0",
        ),
        (lambda f, t: f.empty(0, 3).max(0), r"max\(\): Expected reduction dim 0 to have non-zero size"),
        (lambda f, t: f.empty(0, 3).amax(0), r"amax\(\): Expected reduction dim 0 to have non-zero size"),
        (lambda f, t: f.empty(0).argmax(), r"argmax\(\): Expected reduction dim to be specified"),
        (lambda f, t: f.ones(2, dtype=f.int64).mean(), r"mean\(\): could not infer output dtype"),
        (lambda f, t: f.ones(2, dtype=f.int64).var(), "only support floating point and complex dtypes"),
        (lambda f, t: f.ones(2, dtype=f.complex64).argmax(), "does not support complex input"),
        (lambda f, t: f.ones(2, dtype=f.complex64).amax(), "not implemented for 'ComplexFloat'"),
    ],
)
def test_errors_are_pytorchs(call, message):
    with pytest.raises(Exception, match=message) as theirs:
        call(torch, torch.ones(2, 3))
    with pytest.raises(theirs.type, match=message):
        call(flambeau, flambeau.ones(2, 3))


def test_empty_sums_are_neutral():
    for name in ("sum", "prod", "mean"):
        check(getattr(flambeau.empty(0, 3), name)(0), getattr(torch.empty(0, 3), name)(0))
    check(flambeau.empty(0).any(), torch.empty(0).any())
    check(flambeau.empty(0, 2).all(0), torch.empty(0, 2).all(0))
