"""`nn.functional.grouped_mm`: four arrangements of groups, their gradients, and what is refused."""

import pytest

import flambeau
from flambeau.nn.functional import grouped_mm


def offsets(*ends):
    return flambeau.tensor(ends, dtype=flambeau.int32)


def numbers(*shape, seed=0):
    return flambeau.randn(*shape, generator=flambeau.Generator().manual_seed(seed))


ENDS = [(2, 5, 8), (0, 8, 8), (3, 3, 8)]
ARRANGEMENTS = {
    "rows": ((8, 4), (3, 4, 5), lambda a, b, parts: flambeau.cat([a[s] @ b[i] for i, s in enumerate(parts)])),
    "columns": (
        (3, 4, 5),
        (5, 8),
        lambda a, b, parts: flambeau.cat([a[i] @ b[:, s] for i, s in enumerate(parts)], 1),
    ),
    "sums": ((4, 8), (8, 5), lambda a, b, parts: flambeau.stack([a[:, s] @ b[s] for s in parts])),
}


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("kind", ARRANGEMENTS)
def test_groups_are_products_of_their_own(kind, ends):
    first, second, reference = ARRANGEMENTS[kind]
    parts = [slice(begin, end) for begin, end in zip((0, *ends), ends, strict=False)]
    for dtype in (flambeau.float32, flambeau.bfloat16, flambeau.float16):
        a, b = numbers(*first).to(dtype), numbers(*second, seed=1).to(dtype)
        for left, right in ((a, b), (a.mT.contiguous().mT, b.mT.contiguous().mT)):
            found = grouped_mm(left, right, offs=offsets(*ends), out_dtype=dtype)
            assert found.dtype == dtype and found.is_contiguous()
            assert flambeau.allclose(
                found, reference(a, b, parts), rtol=1e-2, atol=1e-2 if dtype.itemsize < 4 else 1e-6
            )
        assert flambeau.equal(flambeau._grouped_mm(a, b, offsets(*ends)), found)


def test_batches_need_no_offsets():
    a, b = numbers(3, 4, 5), numbers(3, 5, 2, seed=1)
    assert flambeau.equal(grouped_mm(a, b), a @ b)


def test_what_no_group_has_is_zero():
    a = numbers(8, 4).requires_grad_()
    found = grouped_mm(a, numbers(2, 4, 5), offs=offsets(2, 6))
    assert (found[6:] == 0).all() and (found[:6] != 0).all()
    found.sum().backward()
    assert (a.grad[6:] == 0).all() and (a.grad[:6] != 0).all()
    assert (grouped_mm(numbers(2, 4, 5), numbers(5, 8), offs=offsets(2, 6))[:, 6:] == 0).all()
    none = flambeau.zeros(0, dtype=flambeau.int32)
    assert grouped_mm(numbers(8, 4), numbers(0, 4, 5), offs=none).tolist() == [[0] * 5] * 8
    assert grouped_mm(numbers(4, 8), numbers(8, 5), offs=none).shape == (0, 4, 5)


@pytest.mark.parametrize("kind", ARRANGEMENTS)
def test_first_and_second_gradients(kind):
    first, second, reference = ARRANGEMENTS[kind]
    parts = [slice(0, 2), slice(2, 2), slice(2, 8)]
    inputs = [numbers(*first).requires_grad_(), numbers(*second, seed=1).requires_grad_()]

    def gradients(function):
        result = function(*inputs).square().sum()
        once = flambeau.autograd.grad(result, inputs, create_graph=True)
        return *once, *flambeau.autograd.grad(sum(g.square().sum() for g in once), inputs)

    expected = gradients(lambda a, b: reference(a, b, parts))
    for g, e in zip(gradients(lambda a, b: grouped_mm(a, b, offs=offsets(2, 2, 8))), expected, strict=True):
        assert flambeau.allclose(g, e, rtol=1e-4, atol=1e-4)


def test_autocast_leaves_it_alone():
    with flambeau.autocast("cpu", flambeau.bfloat16):
        assert grouped_mm(numbers(2, 3, 4), numbers(2, 4, 3)).dtype == flambeau.float32


def test_meta_tensors_have_the_shape():
    a, b = flambeau.empty(8, 4, device="meta"), flambeau.empty(3, 4, 5, device="meta")
    assert grouped_mm(a, b, offs=offsets(2, 5, 8).to("meta")).shape == (8, 5)


A, B, O = numbers(8, 4), numbers(3, 4, 5), offsets(2, 5, 8)  # noqa: E741
REFUSED = [
    ((A.double(), B), {"offs": O}, "Expected mat_a to be Float32, BFloat16 or Float16 matrix, got Double"),
    ((A, B.int()), {"offs": O}, "Expected mat_b to be .* got Int"),
    ((A[0], B), {"offs": O}, "mat_a has to be 2 or 3d"),
    ((A, B[None]), {"offs": O}, "mat_b has to be 2 or 3d"),
    ((A[:, :2], B), {"offs": O}, "contraction dimension of mat_a and mat_b must match"),
    ((A, B), {}, "Have to provide offsets if there is a 2d matrix"),
    ((B.mT, B), {"offs": O}, "or no offset if both matrices are 3d"),
    ((B.mT[:2], B), {}, "batched dimension has to match"),
    ((A, B), {"offs": O[:2]}, "matrix batch sizes have to match"),
    ((A, B), {"offs": O[None]}, "offs has to be 1D"),
    ((A, B), {"offs": O.long()}, "Offsets have to be int32"),
    ((A, B), {"offs": offsets(2, 5, 9)}, "offs must not decrease"),
    ((A, B), {"offs": offsets(5, 2, 8)}, "offs must not decrease"),
    ((A, B), {"offs": offsets(-1, 2, 8)}, "offs must not decrease"),
    ((A, B), {"offs": O, "bias": B[0, 0]}, "Bias not supported yet"),
    ((A, B), {"offs": O, "out_dtype": flambeau.bfloat16}, "output dtype must match `mat_a` dtype"),
    ((A, B.bfloat16()), {"offs": O}, "same dtype"),
]


@pytest.mark.parametrize(("args", "more", "text"), REFUSED)
def test_refusals(args, more, text):
    with pytest.raises(RuntimeError, match=text):
        grouped_mm(*args, **more)
