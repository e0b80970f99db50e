"""Every operator that has samples, in a batch against one example at a time, and its tangent against differences."""

import math

import gradient_samples as samples
import pytest

import flambeau as torch
from flambeau._ops.registry import records
from flambeau.func import grad, jvp, vmap

COUNT = 3
differentiable = {name: record for name, record in records.items() if record.vjp is not None}
NAMES = [n for n in differentiable if n not in samples.RANDOM.keys() | samples.CHECKED_ELSEWHERE.keys()]

#: Operators that change the shape of what they write, and what vmap says of them.
RESHAPES_IN_PLACE = frozenset("transpose_ unsqueeze_ _as_strided_".split())
#: Operators whose shape or choice depends on elements, so that no batch of them exists.
DEPENDS_ON_DATA = frozenset("masked_select".split())
#: Only the product of these is unique (phases and signs of vectors are free), so that examples differ in more than rounding.
FREE_PHASE = frozenset("_linalg_eig _linalg_eigh _linalg_svd".split())


def tensors(value):
    """Tensors of a call, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors(v)]
    return []


def replaced(value, given):
    """The value with its tensors taken from an iterator."""
    if isinstance(value, torch.Tensor):
        return next(given)
    if isinstance(value, (list, tuple)):
        return type(value)(replaced(v, given) for v in value)
    return value


def function_of(name, call):
    """The operator as a function of the call's tensors, which gives a tuple of tensors; an in-place one works on a copy."""
    op = records[name].op
    writes = name.partition(".")[0].endswith("_")

    def function(*given):
        args = list(replaced(call.args, iter(given)))
        if writes:
            args[0] = args[0].clone()
        result = op(*args, **call.kwargs)
        result = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        if name in samples.FIRST_OUTPUT:
            result = result[:1]
        return tuple(r for r in result if isinstance(r, torch.Tensor))

    return function


def variants(tensor):
    """Examples beside a sample: of numbers, slightly smaller ones, which stay where the function is smooth."""
    tensor = tensor.detach()
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return [tensor * (1 - 0.02 * k) for k in range(COUNT)]
    return [tensor.clone() for _ in range(COUNT)]


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


def arrangements(count):
    """Which tensors are batches: all, and each by itself; along the first dimension, or the last."""
    yield [0] * count
    if count > 1:
        for k in range(count):
            yield [0 if i == k else None for i in range(count)]
    yield [-1] * count


def meaningless(name, dims, given):
    """In-place operators need a batch to write to, strides depend on where the batch lies, and a mask per example has no
    number of elements."""
    if name.partition(".")[0].endswith("_") and dims[0] is None:
        return True
    if name == "as_strided":
        return dims[0] == -1
    return name == "index" and any(
        d is not None and t.dtype == torch.bool for t, d in zip(given, dims, strict=True)
    )


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", [n for n in NAMES if n not in RESHAPES_IN_PLACE | DEPENDS_ON_DATA])
def test_batch_is_examples_side_by_side(name):
    checked = 0
    for call in samples.calls(name, records[name]):
        given = tensors(call.args)
        function = function_of(name, call)
        examples = [variants(t) for t in given]
        if name in FREE_PHASE:
            function = lambda *a, f=function: f(*a)[:1] if name != "_linalg_svd" else f(*a)[1:2]  # noqa: E731
        for dims in arrangements(len(given)):
            if meaningless(name, dims, given):
                continue
            batched = [e[0] if d is None else torch.stack(e, d) for e, d in zip(examples, dims, strict=True)]
            actual = vmap(function, tuple(dims))(*batched)
            rows = [
                function(*(e[0] if d is None else e[i] for e, d in zip(examples, dims, strict=True)))
                for i in range(COUNT)
            ]
            for a, column in zip(actual, zip(*rows, strict=True), strict=True):
                expected = torch.stack(column)
                assert a.dtype == expected.dtype
                close(a, expected)
            checked += 1
    assert checked


def scalar_of(function, places):
    """The sum of |f|^2, weighted, as a function of the differentiated tensors."""

    def scalar(given, *moving):
        given = list(given)
        for place, value in zip(places, moving, strict=True):
            given[place] = value
        total = 0
        for out in function(*given):
            if out.dtype.is_complex:
                out = torch.view_as_real(out)
            if out.dtype.is_floating_point:
                total = (
                    total
                    + (out * (1.0 + torch.arange(out.numel(), dtype=out.dtype).view(out.shape) / 7)).sum()
                )
        return total

    return scalar


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in RESHAPES_IN_PLACE | DEPENDS_ON_DATA | FREE_PHASE]
)
def test_gradients_per_example(name):
    for call in samples.calls(name, records[name]):
        given = [t.detach() for t in tensors(call.args)]
        places = [i for i, t in enumerate(tensors(call.args)) if t.requires_grad]
        scalar = scalar_of(function_of(name, call), places)
        f = grad(lambda *moving, s=scalar, g=given: s(g, *moving), argnums=tuple(range(len(places))))
        examples = [variants(given[p]) for p in places]
        actual = vmap(f)(*(torch.stack(e) for e in examples))
        rows = [f(*(e[i] for e in examples)) for i in range(COUNT)]
        for a, column in zip(actual, zip(*rows, strict=True), strict=True):
            close(a, torch.stack(column))


def direction(tensor, seed):
    values = [math.sin(1.0 + seed + 2.3 * i) for i in range(max(tensor.numel(), 1) * 2)]
    if tensor.dtype.is_complex:
        pairs = torch.tensor(values, dtype=torch.float64)[: 2 * tensor.numel()].view(*tensor.shape, 2)
        return torch.view_as_complex(pairs)
    return torch.tensor(values, dtype=torch.float64)[: tensor.numel()].view(tensor.shape)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in RESHAPES_IN_PLACE])
def test_tangent_is_the_derivative_in_its_direction(name):
    for call in samples.calls(name, records[name]):
        places = [i for i, t in enumerate(tensors(call.args)) if t.requires_grad]
        given = [t.detach() for t in tensors(call.args)]
        whole = function_of(name, call)

        def function(*moving, given=given, places=places, whole=whole):
            full = list(given)
            for place, value in zip(places, moving, strict=True):
                full[place] = value
            outs = whole(*full)
            return tuple(o for o in outs if o.dtype.is_floating_point or o.dtype.is_complex)

        points = tuple(given[p] for p in places)
        tangents = tuple(direction(p, k) for k, p in enumerate(points))
        _, actual = jvp(function, points, tangents)
        step = 1e-6
        ahead = function(*(p + step * t for p, t in zip(points, tangents, strict=True)))
        behind = function(*(p - step * t for p, t in zip(points, tangents, strict=True)))
        for a, up, down in zip(actual, ahead, behind, strict=True):
            torch.testing.assert_close(a, (up - down) / (2 * step), rtol=2e-5, atol=2e-5)
