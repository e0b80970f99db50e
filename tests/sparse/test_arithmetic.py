"""Element-by-element operators, reductions and changes of shape, against the same on strided tensors."""

import pytest
from sparse_samples import BSC, BSR, COO, CSC, CSR, matrix, options

import flambeau as torch

UNARY = (
    "abs asin asinh atan atanh ceil deg2rad erf erfinv expm1 floor frac log1p neg rad2deg relu round sgn sign sin sinh "
    "sqrt tan tanh trunc isinf isnan isposinf isneginf signbit nan_to_num conj_physical positive"
).split()


@pytest.mark.parametrize("layout", [COO, CSR, CSC, BSR, BSC])
@pytest.mark.parametrize("name", UNARY)
def test_functions_that_keep_zeros(name, layout):
    dense = matrix(4, 6).abs() / 40
    function, t = getattr(torch, name), dense.to_sparse(**options(layout))
    found, expected = function(t), function(dense)
    assert found.layout is layout and found.dtype is expected.dtype
    assert torch.allclose(found.to_dense(), expected, equal_nan=True)
    in_place = getattr(torch.Tensor, name + "_", None)
    if in_place is not None and expected.dtype is dense.dtype:
        assert in_place(t) is t and torch.allclose(t.to_dense(), expected, equal_nan=True)


def test_functions_add_up_repeated_places_first():
    t = torch.sparse_coo_tensor([[0, 0]], [9.0, 16.0], (2,))
    assert t.sqrt().to_dense().tolist() == [5, 0] and (-t)._nnz() == 2
    with pytest.raises(RuntimeError, match="sqrt_ requires coalesced input"):
        t.sqrt_()
    assert t.neg_().to_dense().tolist() == [-25, 0]


@pytest.mark.parametrize("layout", [COO, CSR])
def test_sums(layout):
    a, b = matrix(4, 6), matrix(4, 6, zeros=0.3)
    s, t = a.to_sparse(**options(layout)), b.to_sparse(**options(layout))
    for found, expected in (
        (s + t, a + b),
        (torch.add(s, t, alpha=2), a + 2 * b),
        (s - t, a - b),
        (s + t.double(), a + b.double()),
        (s + s, a + a),
    ):
        assert (
            found.layout is layout
            and found.dtype is expected.dtype
            and torch.allclose(found.to_dense(), expected)
        )
    for found, expected in (
        (a + t, a + b),
        (torch.sub(a, t, alpha=3), a - 3 * b),
        (a.clone().add_(t), a + b),
    ):
        assert found.layout is torch.strided and torch.allclose(found, expected)
    turned = torch.ones(6, 4).t()
    assert torch.equal(turned.clone().add_(t), b + 1) and torch.equal(turned.add_(t), b + 1)
    s += t
    assert torch.allclose(s.to_dense(), a + b)


def test_sums_of_uncoalesced_and_hybrid():
    s = torch.sparse_coo_tensor([[1, 1], [0, 0]], [1.0, 2.0], (2, 2))
    t = torch.sparse_coo_tensor([[0], [1]], [5.0], (2, 2))
    assert (s + t).to_dense().tolist() == [[0, 5], [3, 0]] and not (s + t).is_coalesced()
    assert (s.coalesce() + t.coalesce()).is_coalesced()
    hybrid = torch.sparse_coo_tensor([[1, 1]], torch.ones(2, 3), (2, 3))
    assert torch.add(torch.zeros(2, 3), hybrid, alpha=2).tolist() == [[0] * 3, [4] * 3]
    with pytest.raises(RuntimeError, match="number of sparse dimensions"):
        hybrid + torch.ones(2, 3).to_sparse()


@pytest.mark.parametrize("layout", [COO, CSR])
def test_products(layout):
    a, b = matrix(4, 6), matrix(4, 6, zeros=0.3)
    s, t = a.to_sparse(**options(layout)), b.to_sparse(**options(layout))
    for found, expected in (
        (s * t, a * b),
        (s * 2, a * 2),
        (2 * s, a * 2),
        (s * torch.tensor(2.0), a * 2),
        (s * b, a * b),
        (b * s, a * b),
        (s / 2, a / 2),
        (s * torch.arange(6.0), a * torch.arange(6.0)),
        (s.to(torch.int32) * 1.5, a.int() * 1.5),
    ):
        assert (
            found.layout is layout
            and found.dtype is expected.dtype
            and torch.allclose(found.to_dense(), expected)
        )
    assert torch.allclose(b.clone().mul_(s), a * b)
    s *= t
    s /= 4
    assert torch.allclose(s.to_dense(), a * b / 4)


def test_products_of_uncoalesced():
    u = torch.sparse_coo_tensor([[0, 0, 1]], [1.0, 2.0, 3.0], (3,))
    v = torch.sparse_coo_tensor([[1, 0, 0]], [1.0, 2.0, 3.0], (3,))
    expected = u.to_dense() * v.to_dense()
    for a, b in ((u, v), (u.coalesce(), v), (u, v.coalesce()), (u.coalesce(), v.coalesce())):
        assert torch.equal((a * b).to_dense(), expected)
    assert torch.equal((u**2).to_dense(), u.to_dense() ** 2) and torch.equal(
        (u // 2).to_dense(), u.to_dense() // 2
    )


def test_reductions():
    dense = matrix(3, 4, 2)
    for t in (dense.to_sparse(), dense.to_sparse(2), dense.to_sparse(1)):
        for dim in (0, 1, 2, (0, 1), (1, 2), (0, 2), (0, 1, 2), -1):
            found = torch.sparse.sum(t, dim)
            assert torch.allclose(found.to_dense(), dense.sum(dim), atol=1e-5)
            assert torch.allclose(
                t.sum(dim, keepdim=True).to_dense(), dense.sum(dim, keepdim=True), atol=1e-5
            )
        assert torch.allclose(torch.sparse.sum(t), dense.sum()) and torch.allclose(t.sum(), dense.sum())
        assert (
            torch.allclose(t.norm(), dense.norm())
            and torch.allclose(t.norm(1), dense.norm(1))
            and bool(t.any())
        )
    r = dense[..., 0].to_sparse_csr()
    assert torch.allclose(r.sum(), dense[..., 0].sum()) and r.sum(0, keepdim=True).layout is CSR
    assert torch.allclose(r.sum(1, keepdim=True).to_dense(), dense[..., 0].sum(1, keepdim=True))
    ints = torch.tensor([1, 2]).to_sparse().int()
    assert ints.sum().dtype is torch.int64 and torch.sparse.sum(ints, 0).dtype is torch.int32
    with pytest.raises(IndexError, match="Dimension out of range"):
        dense.to_sparse().sum(5)
    with pytest.raises(RuntimeError, match="full reductions"):
        torch.norm(dense.to_sparse(), dim=0)


@pytest.mark.parametrize("sparse_dims", [1, 2, 3])
def test_softmax(sparse_dims):
    dense = matrix(3, 4, 2)
    t = dense.to_sparse(sparse_dims)
    specified = torch.ones_like(dense).sparse_mask(t).to_dense() > 0
    for dim in range(3):
        lowered = dense.masked_fill(~specified, -float("inf"))
        expected = torch.softmax(lowered, dim).nan_to_num(0.0)
        assert torch.allclose(torch.sparse.softmax(t, dim).to_dense(), expected)
        found = torch.sparse.log_softmax(t, dim)
        assert torch.allclose(found.to_dense()[specified].exp(), expected[specified])
    assert torch.sparse.softmax(t, 0, dtype=torch.float64).dtype is torch.float64


def test_shapes():
    dense = matrix(3, 4, 2)
    for t in (dense.to_sparse(), dense.to_sparse(2)):
        assert torch.equal(t.transpose(0, 1).to_dense(), dense.transpose(0, 1))
        assert torch.equal(t.permute(1, 0, 2).to_dense(), dense.permute(1, 0, 2))
        for dim in range(-4, 4):
            assert torch.equal(t.unsqueeze(dim).to_dense(), dense.unsqueeze(dim))
        for dim in range(3):
            assert torch.equal(t.select(dim, -1).to_dense(), dense.select(dim, -1))
            index = torch.tensor([1, 0, 1])
            assert torch.equal(t.index_select(dim, index).to_dense(), dense.index_select(dim, index))
            assert torch.equal(t.narrow_copy(dim, 1, 1).to_dense(), dense.narrow_copy(dim, 1, 1))
            assert torch.equal(
                torch.cat([t, t, t.double()], dim).to_dense(), torch.cat([dense, dense, dense.double()], dim)
            )
            assert torch.equal(torch.stack([t, t], dim).to_dense(), torch.stack([dense, dense], dim))
            for part, expected in zip(t.unbind(dim), dense.unbind(dim), strict=True):
                assert torch.equal(part.to_dense(), expected)
    m = dense[..., 0].to_sparse()
    assert torch.equal(m.t().to_dense(), dense[..., 0].t()) and torch.equal(m.T.to_dense(), dense[..., 0].T)
    assert m.transpose_(0, 1) is m and m.shape == (4, 3)
