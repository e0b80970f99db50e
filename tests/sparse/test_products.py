"""Products of matrices, against the same on strided tensors."""

import pytest
from sparse_samples import BSC, BSR, COO, CSC, CSR, matrix, options

import flambeau as torch


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.int64]
)
@pytest.mark.parametrize("layout", [COO, CSR, CSC, BSR, BSC])
def test_with_a_strided_matrix(layout, dtype):
    a, b = matrix(4, 6, dtype=dtype), matrix(6, 5, dtype=dtype)
    s, close = a.to_sparse(**options(layout)), dict(rtol=1e-2) if dtype is torch.bfloat16 else {}
    for found, expected in (
        (s @ b, a @ b),
        (torch.sparse.mm(s, b), a @ b),
        (b.t() @ s.t(), b.t() @ a.t()),
        (s @ b[:, 0], a @ b[:, 0]),
        (
            torch.addmm(torch.ones(5, dtype=dtype), s, b, beta=2, alpha=3),
            torch.ones(5, dtype=dtype) * 2 + a @ b * 3,
        ),
        (s @ b.t().contiguous().t(), a @ b),
        (s @ b[:, :0], a @ b[:, :0]),
    ):
        assert (
            found.layout is torch.strided
            and found.dtype is dtype
            and torch.allclose(found, expected, **close)
        )


@pytest.mark.parametrize("layout", [COO, CSR])
def test_of_two_sparse_matrices(layout):
    a, b = matrix(4, 6), matrix(6, 5)
    for left, right in ((a, b), (a * 0, b), (a, b * 0), (a[:, :0], b[:0])):
        product = left.to_sparse(**options(layout)) @ right.to_sparse(**options(layout))
        assert product.layout is layout and torch.allclose(product.to_dense(), left @ right)


def test_vectors_batches_and_layers():
    a, x = matrix(4, 6), torch.randn(2, 3, 6)
    s = a.to_sparse()
    assert torch.allclose(torch.mv(s, x[0, 0]), a @ x[0, 0]) and torch.allclose(x[0, 0] @ s.t(), a @ x[0, 0])
    assert torch.allclose(
        torch.nn.functional.linear(x, s, torch.ones(4)), torch.nn.functional.linear(x, a, torch.ones(4))
    )
    batch, other = matrix(3, 4, 6), torch.randn(3, 6, 2)
    assert torch.allclose(torch.bmm(batch.to_sparse(), other), batch @ other)


def test_products_with_sparse_results():
    a, b = matrix(4, 6), matrix(6, 5)
    s, add = a.to_sparse(), matrix(4, 5).to_sparse()
    assert torch.allclose(torch.smm(s, b).to_dense(), a @ b)
    found = torch.sspaddmm(add, s, b, beta=2, alpha=3)
    assert found.is_sparse and torch.allclose(found.to_dense(), add.to_dense() * 2 + a @ b * 3)
    rows = torch.hspmm(s, b)
    assert (rows.sparse_dim(), rows.dense_dim()) == (1, 1) and torch.allclose(rows.to_dense(), a @ b)


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin", "prod"])
def test_reductions_of_products(reduce):
    a, b = matrix(5, 6).double(), matrix(6, 3, zeros=0).double()
    a[2] = 0
    s = a.to_sparse_csr()
    found = torch.sparse.mm(s, b, reduce)
    for i in range(5):
        terms = (a[i].unsqueeze(1) * b)[a[i] != 0]
        expected = getattr(terms, reduce)(0) if len(terms) else torch.zeros(3).double()
        assert torch.allclose(found[i], expected)
    with pytest.raises(RuntimeError, match="reduce argument must be"):
        torch.sparse.mm(s, b, "median")
    with pytest.raises(NotImplementedError, match="_sparse_mm_reduce_impl"):
        torch.sparse.mm(a.to_sparse(), b, reduce)


def test_sampled_products():
    pattern, a, b = matrix(4, 6), torch.randn(4, 3), torch.randn(3, 6)
    s = pattern.to_sparse_csr()
    found = torch.sparse.sampled_addmm(s, a, b, beta=2, alpha=3)
    mask = (pattern != 0).to(a.dtype)
    assert found.layout is CSR and torch.allclose(
        found.to_dense(), pattern * 2 + (a @ b) * 3 * mask, atol=1e-5
    )
    batch = torch.sparse_csr_tensor([[0, 1, 2], [0, 1, 2]], [[0, 1], [1, 0]], torch.ones(2, 2), (2, 2, 2))
    left, right = torch.randn(2, 2, 3), torch.randn(2, 3, 2)
    expected = (left @ right) * batch.to_dense() + batch.to_dense()
    assert torch.allclose(torch.sparse.sampled_addmm(batch, left, right).to_dense(), expected)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        torch.sparse.sampled_addmm(s, a, b[:2])


def test_bits_do_not_depend_on_threads():
    a, b = matrix(300, 300), torch.randn(300, 65)
    s, before, found = a.to_sparse(), torch.get_num_threads(), []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            found.append((s @ b, (s.t() @ b), (s @ s).to_dense(), torch.sparse.sum(s, 0).to_dense()))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda s, d: s @ d[:2], "shapes cannot be multiplied"),
        (lambda s, d: torch.mm(s, d.double()), "expected scalar type"),
        (lambda s, d: torch.sparse.mm(s, d[:, 0]), "expected two matrices"),
        (lambda s, d: torch.addmm(d, d.t(), s), "expected either 'mat1' to have sparse layout"),
        (lambda s, d: torch.addmm(s, s, d), "expected Strided result tensor"),
        (
            lambda s, d: torch.bmm(torch.ones(1, 2, 3), torch.ones(1, 3, 2).to_sparse()),
            "'mat2' must be dense",
        ),
        (lambda s, d: torch.sspaddmm(s, s, d), "Argument #1"),
    ],
)
def test_errors(call, text):
    with pytest.raises(RuntimeError, match=text):
        call(matrix(4, 6).to_sparse(), matrix(6, 5))
