"""Making sparse tensors, their parts, conversions between layouts, copies, files, printing."""

import copy
import io
import pickle

import pytest
from sparse_samples import BSC, BSR, COO, CSC, CSR, matrix, options

import flambeau as torch


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64, torch.bfloat16]
)
@pytest.mark.parametrize("shape", [(4, 6), (0, 6), (4, 0), (1, 1), (2, 4, 6)])
@pytest.mark.parametrize("layout", [COO, CSR, CSC, BSR, BSC])
def test_there_and_back(layout, shape, dtype):
    if layout is not COO and len(shape) == 3:
        dense = matrix(*shape[1:], dtype=dtype).expand(shape)  # every batch specifies as many elements
    else:
        dense = matrix(*shape, dtype=dtype)
    if layout in (BSR, BSC) and shape == (1, 1):
        pytest.skip("no whole block")
    t = dense.to_sparse(**options(layout))
    assert isinstance(t, torch.Tensor) and t.layout is layout and t.dtype is dtype and t.shape == dense.shape
    assert t.is_sparse == (layout is COO) and t.is_sparse_csr == (layout is CSR)
    assert torch.equal(t.to_dense(), dense)
    for other in (COO, CSR, CSC, BSR, BSC):
        if other is COO or len(shape) == 2 and shape != (1, 1):
            turned = t.to_sparse(**options(other))
            assert turned.layout is other and torch.equal(turned.to_dense(), dense)


def test_coo_parts_and_forms():
    indices, values = torch.tensor([[1, 0, 1], [0, 2, 0]]), torch.tensor([3.0, 4.0, 5.0])
    t = torch.sparse_coo_tensor(indices, values, (2, 3))
    assert not t.is_coalesced() and t._nnz() == 3 and (t.sparse_dim(), t.dense_dim()) == (2, 0)
    assert torch.equal(t._indices(), indices) and torch.equal(t._values(), values)
    assert t.to_dense().tolist() == [[0, 0, 4], [8, 0, 0]]
    c = t.coalesce()
    assert c.is_coalesced() and c.indices().tolist() == [[0, 1], [2, 0]] and c.values().tolist() == [4, 8]
    assert c.coalesce() is c
    with pytest.raises(RuntimeError, match="uncoalesced tensor, please call .coalesce"):
        t.values()
    assert torch.sparse_coo_tensor(indices, values).shape == (2, 3)
    assert torch.sparse_coo_tensor([[1]], 2.0).to_dense().tolist() == [0, 2]
    assert torch.sparse_coo_tensor((2, 3)).to_dense().tolist() == [[0] * 3] * 2
    assert torch.sparse_coo_tensor(size=(2,), dtype=torch.int32).dtype is torch.int32
    hybrid = torch.sparse_coo_tensor([[1, 1]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
    assert (hybrid.sparse_dim(), hybrid.dense_dim()) == (1, 1)
    assert hybrid.coalesce().values().tolist() == [[4, 6]]
    scalar = torch.sparse_coo_tensor(torch.zeros(0, 3, dtype=torch.int64), torch.tensor([2.0, 3.0, 4.0]), ())
    assert scalar.coalesce().values().tolist() == [9] and scalar.to_dense().item() == 9 and scalar.item() == 9


def test_compressed_parts():
    t = torch.sparse_csr_tensor([0, 1, 3], [2, 0, 2], [3.0, 4.0, 5.0], (2, 3))
    assert t.crow_indices().tolist() == [0, 1, 3] and t.col_indices().tolist() == [2, 0, 2]
    assert t.to_dense().tolist() == [[0, 0, 3], [4, 0, 5]] and t._nnz() == 3
    small = torch.sparse_csr_tensor(
        torch.tensor([0, 1], dtype=torch.int32), torch.tensor([1], dtype=torch.int32), [7.0]
    )
    assert small.col_indices().dtype is torch.int32 and small.shape == (1, 2)
    with pytest.raises(RuntimeError, match="column compressed tensor layout but got SparseCsr"):
        t.ccol_indices()
    turned = t.t()
    assert (
        turned.layout is CSC
        and turned.row_indices().tolist() == [2, 0, 2]
        and torch.equal(turned.to_dense(), t.to_dense().t())
    )
    hybrid = torch.sparse_csr_tensor([0, 1, 3], [2, 0, 2], torch.arange(6.0).view(3, 2), (2, 3, 2))
    assert hybrid.dense_dim() == 1 and hybrid.to_dense()[1, 2].tolist() == [4, 5]
    batch = torch.sparse_csr_tensor([[0, 1], [0, 1]], [[0], [1]], [[1.0], [2.0]], (2, 1, 2))
    assert batch.to_dense().tolist() == [[[1, 0]], [[0, 2]]]


def test_dense_dimensions_stay_whole():
    dense = torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    t = dense.to_sparse(1)
    assert (
        t.indices().tolist() == [[1]] and t.values().tolist() == [[0, 3]] and torch.equal(t.to_dense(), dense)
    )
    cube = matrix(3, 4, 2)
    assert torch.equal(cube.to_sparse_csr(dense_dim=1).to_dense(), cube)
    assert torch.tensor(2.0).to_sparse().to_dense().item() == 2
    assert torch.zeros(3).to_sparse()._nnz() == 0


def test_attributes_of_a_real_tensor():
    t = matrix(3, 4).to_sparse()
    assert (
        t.dim() == 2 and t.numel() == 12 and len(t) == 3 and t.element_size() == 4 and t.device.type == "cpu"
    )
    assert t.type() == "torch.sparse.FloatTensor" and not t.is_contiguous() and t.detach().layout is COO
    assert t.to(torch.float64).dtype is torch.float64 and t.int().dtype is torch.int32 and t.cpu() is t
    parameter = torch.nn.Parameter(t)
    assert parameter.requires_grad and parameter.is_sparse and parameter.is_leaf
    assert torch.equal(t.data.to_dense(), t.to_dense())
    t.mark = 3
    assert copy.deepcopy(t).mark == 3


def test_what_shares_memory_and_what_does_not():
    t = torch.tensor([0.0, 2.0]).to_sparse()
    same, other = t.detach(), t.clone()
    t._values().fill_(5.0)
    assert same.to_dense().tolist() == [0, 5] and other.to_dense().tolist() == [0, 2]
    other.copy_(t)
    assert other.to_dense().tolist() == [0, 5]
    assert other.zero_()._nnz() == 0 and t.to_dense().tolist() == [0, 5]
    version = t._version
    t.mul_(2)
    assert t._version > version and t.to_dense().tolist() == [0, 10] and same.to_dense().tolist() == [0, 5]


@pytest.mark.parametrize("layout", [COO, CSR, CSC, BSR, BSC])
def test_files_and_copies(layout):
    t = matrix(4, 6).to_sparse(**options(layout))
    buffer = io.BytesIO()
    torch.save({"t": t, "p": torch.nn.Parameter(t)}, buffer)
    for weights_only in (True, False):
        buffer.seek(0)
        back = torch.load(buffer, weights_only=weights_only)
        assert back["t"].layout is layout and torch.equal(back["t"].to_dense(), t.to_dense())
        assert back["p"].requires_grad and isinstance(back["p"], torch.nn.Parameter)
    for same in (pickle.loads(pickle.dumps(t)), copy.copy(t), copy.deepcopy(t)):
        assert same.layout is layout and torch.equal(same.to_dense(), t.to_dense())
    if layout is COO:
        assert pickle.loads(pickle.dumps(t)).is_coalesced()
        leaf = t.clone().requires_grad_()
        assert copy.deepcopy(leaf).requires_grad


def test_likenesses():
    t = matrix(2, 3).to_sparse()
    assert torch.zeros_like(t)._nnz() == 0 and torch.zeros_like(t).shape == (2, 3)
    assert t.new_zeros((4, 4)).is_sparse and torch.empty_like(t).is_sparse
    r = t.to_sparse_csr()
    assert torch.zeros_like(r).crow_indices().tolist() == [0, 0, 0]
    assert torch.zeros_like(r, layout=torch.strided).tolist() == [[0] * 3] * 2
    assert torch.randn_like(t)._indices().tolist() == t._indices().tolist()


def test_resizing():
    t = torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    assert t.sparse_resize_((4, 4), 2, 0) is t and t.shape == (4, 4) and t.to_dense()[1, 0] == 4
    with pytest.raises(RuntimeError, match="shrinking the size of sparse dimensions"):
        t.sparse_resize_((1, 4), 2, 0)
    with pytest.raises(RuntimeError, match="changing the number of sparse dimensions"):
        t.sparse_resize_((4, 4), 1, 1)
    assert t.sparse_resize_and_clear_((1, 4), 1, 1)._nnz() == 0 and t.dense_dim() == 1
    hybrid = torch.sparse_coo_tensor([[1]], [[1.0, 2.0]], (2, 2)).sparse_resize_((3, 3), 1, 1)
    assert hybrid.to_dense().tolist() == [[0, 0, 0], [1, 2, 0], [0, 0, 0]]


def test_masks():
    dense = torch.arange(6.0).view(2, 3)
    mask = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], torch.ones(3), (2, 3))
    assert dense.sparse_mask(mask)._values().tolist() == [2, 3, 5]
    assert dense.sparse_mask(mask.to_sparse_csr()).values().tolist() == [2, 3, 5]
    assert dense.to_sparse().sparse_mask(
        torch.sparse_coo_tensor([[0], [0]], [1.0], (2, 3))
    )._values().tolist() == [0]
    with pytest.raises(RuntimeError, match="operands have incompatible sizes"):
        torch.ones(3, 3).sparse_mask(mask)


def test_diagonals():
    rows = torch.arange(9.0).view(3, 3)
    t = torch.sparse.spdiags(rows, torch.tensor([0, -1, 2]), (3, 3))
    expected = torch.zeros(3, 3)
    for row, offset in zip(rows, (0, -1, 2), strict=True):
        for j in range(3):
            if 0 <= j - offset < 3:
                expected[j - offset, j] = row[j]
    assert torch.equal(t.to_dense(), expected)
    assert torch.sparse.spdiags(rows, torch.tensor([0, -1, 2]), (3, 3), layout=CSR).layout is CSR
    with pytest.raises(RuntimeError, match="duplicate values"):
        torch.sparse.spdiags(rows[:2], torch.tensor([1, 1]), (3, 3))


def test_printing():
    t = torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    assert repr(t) == (
        "tensor(indices=tensor([[0, 1],\n                       [2, 0]]),\n       values=tensor([3., 4.]),\n"
        "       size=(2, 3), nnz=2, layout=torch.sparse_coo)"
    )
    assert repr(torch.sparse_coo_tensor((2, 0), dtype=torch.float64, requires_grad=True)) == (
        "tensor(indices=tensor([], size=(2, 0)),\n       values=tensor([], size=(0,)),\n       size=(2, 0), nnz=0, "
        "dtype=torch.float64, layout=torch.sparse_coo,\n       requires_grad=True)"
    )
    wide = torch.tensor([[0.0, 0.0, 3.0], [4.0, 0.0, 5.0]]).to_sparse_csr()
    assert repr(wide) == (
        "tensor(crow_indices=tensor([0, 1, 3]),\n       col_indices=tensor([2, 0, 2]),\n       values=tensor([3., 4., 5.]), "
        "size=(2, 3), nnz=3,\n       layout=torch.sparse_csr)"
    )


def test_indexing():
    dense = matrix(3, 4)
    t = dense.to_sparse()
    assert torch.equal(t[1].to_dense(), dense[1]) and torch.equal(t[-1, ...].to_dense(), dense[-1])
    assert t[1, 2].item() == dense[1, 2].item() and t[None].shape == (1, 3, 4) and t[:, 1].shape == (3,)
    assert [row.shape for row in t] == [(4,)] * 3
    with pytest.raises(TypeError, match="Cannot assign to a sparse tensor"):
        t[0] = 1
    with pytest.raises(IndexError):
        t[3]
    for key in (slice(0, 1), torch.tensor([0]), [0], dense > 0):
        with pytest.raises(NotImplementedError, match="SparseCPU"):
            t[key]


def test_comparison_for_tests():
    close = torch.testing.assert_close
    eye = torch.eye(2)
    for layout in (COO, CSR, BSR):
        make = lambda t: t.to_sparse(layout=layout, blocksize=(1, 1) if layout is BSR else None)  # noqa: B023, E731
        close(make(eye), make(eye.clone()))
        for other, text in (
            (make(2 * eye), "values are not close"),
            (make(eye.flip(0)), "indices are not equal"),
            (
                make(torch.ones(2, 2)),
                "number of specified values in sparse .* tensors does not match: 2 != 4",
            ),
            (eye, "attribute 'layout' do not match"),
        ):
            with pytest.raises(AssertionError, match=text):
                close(make(eye), other)
        close(make(eye), eye, check_layout=False)
