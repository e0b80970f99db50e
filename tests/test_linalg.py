"""Matrix products against PyTorch: dtypes, layouts, broadcasting, derivatives, errors; bits for any thread count."""

import itertools

import pytest

import flambeau

torch = pytest.importorskip("torch", reason="PyTorch, the peer of these comparisons, is not installed")

FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = ["int8", "uint8", "int16", "int32", "int64"]
COMPLEX = ["complex64", "complex128"]
TOLERANCE = {"float16": 2e-2, "bfloat16": 6e-2}


def pair(shape, dtype, seed=0, turned=False):
    """The same matrix in both libraries; turned: a transposed view."""
    generator = torch.Generator().manual_seed(seed)
    if turned:
        shape = (*shape[:-2], shape[-1], shape[-2])
    theirs = torch.randn(
        shape, generator=generator, dtype=torch.complex128 if dtype in COMPLEX else torch.float64
    )
    theirs = (theirs * 3 if dtype in INTEGERS else theirs).to(getattr(torch, dtype))
    ours = flambeau._C.tensor_from_data(theirs.tolist(), getattr(flambeau, dtype)).reshape(
        tuple(theirs.shape)
    )
    return (ours.transpose(-1, -2), theirs.transpose(-1, -2)) if turned else (ours, theirs)


def agree(ours, theirs, scale=1.0):
    dtype = str(theirs.dtype).partition(".")[2]
    assert str(ours.dtype) == str(theirs.dtype)
    assert tuple(ours.shape) == tuple(theirs.shape)
    wide = torch.complex128 if theirs.is_complex() else torch.float64
    back = torch.tensor(ours.tolist(), dtype=wide).reshape(theirs.shape)
    limit = (
        TOLERANCE.get(dtype, 1e-4) * scale * max(1.0, float(theirs.abs().max()) if theirs.numel() else 1.0)
    )
    torch.testing.assert_close(back, theirs.to(wide), rtol=0, atol=limit)


SIZES = [
    (1, 1, 1),
    (3, 5, 7),
    (1, 16, 16),
    (8, 1, 32),
    (17, 33, 65),
    (2, 3, 0),
    (0, 3, 2),
    (130, 70, 300),
    (200, 100, 530),
]


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS + COMPLEX)
@pytest.mark.parametrize("m,n,k", SIZES)
def test_matrices_of_every_dtype_and_layout(dtype, m, n, k):
    for left, right in itertools.product([False, True], repeat=2):
        (a, ta), (b, tb) = pair((m, k), dtype, 1, left), pair((k, n), dtype, 2, right)
        agree(a @ b, ta @ tb)
    (c, tc), (d, td) = pair((m, n), dtype, 3), pair((n,), dtype, 4)
    agree(flambeau.addmm(c, a, b, beta=2, alpha=3), torch.addmm(tc, ta, tb, beta=2, alpha=3), 3)
    agree(flambeau.addmm(d, a, b), torch.addmm(td, ta, tb), 3)


BROADCASTS = [
    ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 3)), ((5, 3, 4), (4,)), ((4,), (5, 4, 3)), ((5, 3, 4), (4, 2)),
    ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (5, 4, 2)), ((2, 3, 0), (0, 4)), ((6, 40, 50), (6, 50, 30)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "int64", "complex64"])
@pytest.mark.parametrize("left,right", BROADCASTS)
def test_matmul_broadcasts(dtype, left, right):
    (a, ta), (b, tb) = pair(left, dtype, 1), pair(right, dtype, 2)
    agree(a @ b, ta @ tb)


def test_operands_with_gaps_are_copied():
    (a, ta), (b, tb) = pair((8, 12), "float32", 1), pair((12, 8), "float32", 2)
    agree(a[::2, ::3] @ b[::3, ::2], ta[::2, ::3] @ tb[::3, ::2])
    agree(a[:, ::2] @ b[::2, 0], ta[:, ::2] @ tb[::2, 0])
    (q, tq), (k, tk) = pair((2, 5, 3, 4), "float32", 1), pair((2, 5, 3, 4), "float32", 2)
    agree(
        q.transpose(1, 2) @ k.transpose(1, 2).transpose(-1, -2),
        tq.transpose(1, 2) @ tk.transpose(1, 2).transpose(-1, -2),
    )


@pytest.mark.parametrize("dtype", ["float64", "int32", "complex128"])
@pytest.mark.parametrize(
    "equation,shapes",
    [
        ("ij,jk->ik", [(3, 4), (4, 5)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("ii->i", [(3, 3)]),
        ("ii", [(3, 3)]),
        ("...ij,...jk", [(2, 3, 4), (4, 5)]),
        ("i,j->ij", [(3,), (4,)]),
        ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
        ("ijk->kj", [(2, 3, 4)]),
        ("bi,oij,bj->bo", [(2, 3), (4, 3, 5), (2, 5)]),
        ("ij,ij->j", [(3, 4), (1, 4)]),
        (",->", [(), ()]),
        (",i,->i", [(), (3,), ()]),
    ],
)
def test_einsum(equation, shapes, dtype):
    operands = [pair(shape, dtype, seed) for seed, shape in enumerate(shapes)]
    agree(
        flambeau.einsum(equation, *(o for o, _ in operands)),
        torch.einsum(equation, *(t for _, t in operands)),
    )


def test_einsum_takes_numbered_dimensions():
    (a, ta), (b, tb) = pair((2, 3), "float64", 1), pair((3, 4), "float64", 2)
    agree(flambeau.einsum(a, [0, 1], b, [1, 2], [0, 2]), torch.einsum(ta, [0, 1], tb, [1, 2], [0, 2]))


GRADIENTS = {
    "mm": (lambda m, a, b: a @ b, [(3, 4), (4, 5)]),
    "mv": (lambda m, a, b: a @ b, [(3, 4), (4,)]),
    "row": (lambda m, a, b: a @ b, [(4,), (4, 5)]),
    "dot": (lambda m, a, b: a @ b, [(4,), (4,)]),
    "vdot": (lambda m, a, b: m.vdot(a, b), [(4,), (4,)]),
    "bmm": (lambda m, a, b: m.bmm(a, b), [(2, 3, 4), (2, 4, 5)]),
    "rows": (lambda m, a, b: a @ b, [(2, 3, 4), (4, 5)]),
    "broadcast": (lambda m, a, b: a @ b, [(2, 1, 3, 4), (5, 4, 2)]),
    "batched row": (lambda m, a, b: a @ b, [(4,), (5, 4, 2)]),
    "batched column": (lambda m, a, b: a @ b, [(5, 2, 4), (4,)]),
    "addmm": (lambda m, c, a, b: m.addmm(c, a, b, beta=2, alpha=3), [(5,), (3, 4), (4, 5)]),
    "addmv": (lambda m, c, a, b: m.addmv(c, a, b, beta=2, alpha=3), [(1,), (3, 4), (4,)]),
    "baddbmm": (lambda m, c, a, b: m.baddbmm(c, a, b, beta=2, alpha=3), [(5,), (2, 3, 4), (2, 4, 5)]),
    "addbmm": (lambda m, c, a, b: m.addbmm(c, a, b, beta=2, alpha=3), [(5,), (2, 3, 4), (2, 4, 5)]),
    "addr": (lambda m, c, a, b: m.addr(c, a, b, beta=2, alpha=3), [(4,), (3,), (4,)]),
    "einsum": (lambda m, a, b, c: m.einsum("bij,jk,bk->ib", a, b, c), [(2, 3, 4), (4, 5), (2, 5)]),
    "tensordot": (lambda m, a, b: m.tensordot(a, b), [(2, 3, 4), (3, 4, 5)]),
    "inner": (lambda m, a, b: m.inner(a, b), [(2, 3), (4, 3)]),
    "linear": (lambda m, a, b, c: m.nn.functional.linear(a, b, c), [(2, 3, 4), (5, 4), (5,)]),
    "linear to one": (lambda m, a, b: m.nn.functional.linear(a, b), [(2, 3, 4), (4,)]),
}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name, dtype):
    function, shapes = GRADIENTS[name]
    pairs = [pair(shape, dtype, seed) for seed, shape in enumerate(shapes)]
    ours = [o.requires_grad_() for o, _ in pairs]
    theirs = [t.requires_grad_() for _, t in pairs]
    a, b = function(flambeau, *ours), function(torch, *theirs)
    agree(a.detach(), b.detach())
    weight, their_weight = pair(tuple(b.shape), dtype, 9)
    for total in ((a * weight).sum(), (b * their_weight).sum()):
        (total.abs() if dtype == "complex128" else total).backward()
    for x, y in zip(ours, theirs, strict=True):
        agree(x.grad, y.grad)


def test_beta_zero_ignores_the_input():
    hole = flambeau.full((3, 3), float("nan"))
    assert flambeau.addmm(hole, flambeau.ones(3, 2), flambeau.ones(2, 3), beta=0).tolist() == [[2.0] * 3] * 3
    assert flambeau.addmv(hole[0], flambeau.ones(3, 2), flambeau.ones(2), beta=0).tolist() == [2.0] * 3


def test_integers_wrap_around():
    a = flambeau.full((1, 300), 100, dtype=flambeau.int8)
    assert (a @ a.t()).item() == (300 * 100 * 100 + 128) % 256 - 128


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "complex64"])
@pytest.mark.parametrize("m,n,k", [(300, 260, 400), (1, 3000, 300), (2000, 1, 200), (64, 128, 784)])
def test_the_same_bits_for_any_number_of_threads(dtype, m, n, k):
    a, b = pair((m, k), dtype, 1)[0], pair((k, n), dtype, 2)[0]
    before = flambeau.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            flambeau.set_num_threads(threads)
            results.append((a @ b).tolist())
    finally:
        flambeau.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def ones(*shape, dtype="float32"):
    return flambeau.full(shape, 1, dtype=getattr(flambeau, dtype))


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: ones(2, 3) @ ones(4, 5), r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)"),
        (lambda: flambeau.mm(ones(2, 3), ones(3)), "mat2 must be a matrix"),
        (
            lambda: flambeau.mm(ones(2, 3), ones(3, 4, dtype="float64")),
            "to have the same dtype, but got: float != double",
        ),
        (
            lambda: flambeau.bmm(ones(2, 3, 4), ones(2, 5, 4)),
            r"batch2 tensor to be: \[2, 4\] but got: \[2, 5\]",
        ),
        (lambda: flambeau.mv(ones(2, 3), ones(4)), r"size mismatch, got input \(2\), mat \(2x3\), vec \(4\)"),
        (lambda: flambeau.dot(ones(2), ones(3)), "inconsistent tensor size"),
        (lambda: flambeau.dot(ones(2, 2), ones(3)), "1D tensors expected"),
        (lambda: ones() @ ones(3), "both arguments to matmul need to be at least 1D"),
        (
            lambda: ones(5, 2, 3) @ ones(4, 3, 2),
            r"The size of tensor a \(5\) must match the size of tensor b \(4\)",
        ),
        (lambda: flambeau.addmm(ones(5), ones(2, 3), ones(3, 4)), "must match the existing size"),
        (
            lambda: flambeau.einsum("ij,jk", ones(2, 3), ones(4, 4)),
            "does not broadcast with previously seen size 3",
        ),
        (lambda: flambeau.einsum("ij->z", ones(2, 3)), "output subscript z does not appear"),
        (lambda: flambeau.tensordot(ones(2, 3), ones(4, 4), 1), "contracted dimensions need to match"),
        (
            lambda: flambeau.mm(ones(2, 3), ones(3, 4), out=ones(2, 4, dtype="float64")),
            "Expected out tensor to have dtype",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


def test_bool_is_refused():
    with pytest.raises(NotImplementedError, match="not implemented for 'Bool'"):
        ones(2, 2, dtype="bool") @ ones(2, 2, dtype="bool")


@pytest.mark.parametrize(
    "m, k, n", [(9, 100, 200), (33, 65, 47), (40, 1, 900), (129, 31, 33), (300, 1000, 500)]
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats_are_summed_in_float32_and_rounded_once(dtype, m, k, n):
    """Blocks, tiles and their edges, in every layout; against the product of the same values in float64."""
    generator = torch.Generator().manual_seed(m)
    narrow, step = getattr(flambeau, dtype), {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    for left, right in itertools.product([False, True], repeat=2):
        a = torch.randn((k, m) if left else (m, k), generator=generator).to(getattr(torch, dtype))
        b = torch.randn((n, k) if right else (k, n), generator=generator).to(getattr(torch, dtype))
        ours = [flambeau.tensor(t.float().numpy()).to(narrow) for t in (a, b)]
        a, b, ours[0], ours[1] = (
            t.t() if turned else t
            for t, turned in zip((a, b, *ours), (left, right, left, right), strict=True)
        )
        exact = a.double() @ b.double()
        error = (torch.tensor((ours[0] @ ours[1]).tolist(), dtype=torch.float64) - exact).abs()
        assert bool((error <= step * exact.abs() + 1e-6 * k**0.5 * 16).all())
        start = flambeau.ones(m, n, dtype=narrow)
        scaled = flambeau.addmm(start, *ours, beta=2, alpha=0.5)
        error = (torch.tensor(scaled.tolist(), dtype=torch.float64) - (2 + exact / 2)).abs()
        assert bool((error <= step * (2 + exact / 2).abs() + 1e-6 * k**0.5 * 16).all())
