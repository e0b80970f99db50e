"""Nothing that Python can do with a sparse tensor reaches memory that is not there."""

import gc
import pickle

import pytest
from sparse_samples import COO, CSR, matrix

import flambeau as torch
from flambeau._ops import registry

EXPECTED = (RuntimeError, IndexError, TypeError, ValueError, NotImplementedError)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: torch.sparse_coo_tensor([[-1, 0]], [1.0, 2.0]), "found negative index -1"),
        (lambda: torch.sparse_coo_tensor([[0, 1]], [1.0], (2,)), "must have same nnz"),
        (
            lambda: torch.sparse_coo_tensor([[0], [1]], [1.0], (2, 2, 2)),
            "len\\(size\\) == sparse_dim \\+ dense_dim",
        ),
        (lambda: torch.sparse_coo_tensor([[0]], [[1.0, 2.0]], (1, 3)), "values has incorrect size"),
        (lambda: torch.sparse_coo_tensor([0], [1.0], (2,)), "indices must be sparse_dim x nnz"),
        (lambda: torch.sparse_coo_tensor([[0]], [1.0], (-2,)), "negative"),
        (lambda: torch.sparse_coo_tensor((2, -3)), "negative"),
        (lambda: torch.sparse_coo_tensor((2**40, 2**40)), "integer multiplication overflow"),
        (lambda: torch.sparse_csr_tensor([0, 1], [2, 0], [1.0, 2.0], (2, 3)), "number of rows \\+ 1"),
        (lambda: torch.sparse_csr_tensor([0, 1, 2], [2], [1.0, 2.0], (2, 3)), "must be equal to nnz"),
        (lambda: torch.sparse_csr_tensor([0], [], [], (2,)), "dimensionality must be sum of"),
        (lambda: torch.sparse_bsr_tensor([0, 1], [0], torch.ones(1, 2, 0), (2, 2)), "must be divisible"),
        (lambda: torch.sparse_bsr_tensor([0, 1], [0], torch.ones(1, 2, 2), (3, 2)), "must be divisible"),
        (
            lambda: torch.sparse_compressed_tensor([0], [], []),
            "expected sparse compressed tensor layout but got none",
        ),
        (lambda: torch.ones(3, 3).to_sparse_bsr((2, 2)), "must be divisible by given blocksize"),
        (lambda: torch.ones(3, 3).to_sparse_bsr((0, 2)), "two positive sizes"),
        (lambda: torch.ones(2, 2).to_sparse(3), "sparse_dim argument must be in"),
        (lambda: torch.ones(2, 2).to_sparse(0), "must be in >0"),
        (
            lambda: torch.tensor([[[1.0, 0]], [[1.0, 1]]]).to_sparse_csr(),
            "same number of specified elements per batch",
        ),
    ],
)
def test_bad_parts(make, text):
    with pytest.raises(RuntimeError, match=text):
        make()


def test_huge_but_hollow():
    t = torch.sparse_coo_tensor([[2**61]], [1.0], (2**62,))
    assert t.numel() == 2**62 and (t + t)._values().tolist() == [2] and t.coalesce()._nnz() == 1
    with pytest.raises(EXPECTED):
        t.to_dense()
    wide = torch.sparse_coo_tensor(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 0), (2**40, 2**40, 0))
    with pytest.raises(RuntimeError, match="too large"):
        wide.coalesce()


CHECKED = [
    (lambda: torch.sparse_coo_tensor([[3]], [1.0], (3,)), "size is inconsistent with indices"),
    (
        lambda: torch.sparse_coo_tensor([[1, 1]], [1.0, 2.0], (3,), is_coalesced=True),
        "cannot set is_coalesced",
    ),
    (
        lambda: torch.sparse_csr_tensor([1, 1, 3], [2, 0, 2], [1.0] * 3, (2, 3)),
        "`crow_indices\\[..., 0\\] == 0`",
    ),
    (lambda: torch.sparse_csr_tensor([0, 1, 2], [2, 0, 2], [1.0] * 3, (2, 3)), "== nnz`"),
    (lambda: torch.sparse_csr_tensor([0, 4, 3], [2, 0, 2], [1.0] * 3, (2, 3)), "<= ncols`"),
    (lambda: torch.sparse_csr_tensor([0, 1, 3], [3, 0, 2], [1.0] * 3, (2, 3)), "`0 <= col_indices < ncols`"),
    (lambda: torch.sparse_csr_tensor([0, 1, 3], [2, 2, 0], [1.0] * 3, (2, 3)), "sorted and distinct"),
]


@pytest.mark.parametrize("make, text", CHECKED)
def test_invariants(make, text):
    make()  # nobody looks
    with torch.sparse.check_sparse_tensor_invariants(), pytest.raises(RuntimeError, match=text):
        make()
    assert not torch.sparse.check_sparse_tensor_invariants.is_enabled()


@pytest.mark.parametrize("make, _", CHECKED)
def test_what_nobody_looked_at_is_met_later(make, _):
    """Wrong indices give errors, or wrong results, but never reach beyond memory."""
    t = make()
    n = t.shape[-1]
    for use in (
        lambda: t.to_dense(),
        lambda: t @ torch.ones(n, 2),
        lambda: torch.ones(tuple(t.shape)) + t,
        lambda: t.coalesce(),
        lambda: t + t,
        lambda: t * t,
        lambda: t * torch.ones(tuple(t.shape)),
        lambda: torch.ones(tuple(t.shape)).sparse_mask(t),
        lambda: t.sum(),
        lambda: t[0],
        lambda: t.to_sparse(),
        lambda: repr(t),
        lambda: t.t().to_dense(),
        lambda: torch.sparse.softmax(t, 0),
        lambda: pickle.loads(pickle.dumps(t)),
    ):
        try:
            use()
        except EXPECTED:
            pass


def test_indices_changed_behind_a_tensor():
    for t, part in (
        (matrix(4, 5).to_sparse(), lambda t: t._indices()),
        (matrix(4, 5).to_sparse_csr(), lambda t: t.crow_indices()),
        (matrix(4, 5).to_sparse_csr(), lambda t: t.col_indices()),
    ):
        for value in (-1, 10**6, -(2**62), 2**62):
            part(t).fill_(value)
            for use in (
                lambda: t.to_dense(),  # noqa: B023
                lambda: t @ torch.ones(5, 2),  # noqa: B023
                lambda: t @ t.t(),  # noqa: B023
                lambda: torch.ones(4, 5).add_(t),  # noqa: B023
                lambda: t.sum(0, keepdim=True),  # noqa: B023
            ):
                with pytest.raises(EXPECTED):
                    use()


def test_parts_keep_their_shape():
    t = matrix(4, 5).to_sparse()
    nnz = t._nnz()
    t._values().resize_(0)
    t._indices().resize_(2, 1)
    t._values().untyped_storage().resize_(0)
    assert t._nnz() == nnz
    with pytest.raises(RuntimeError, match="out of bounds for storage"):
        t.to_dense()


def kinds_of(op):
    """The types of an operator's positional parameters, as its signature writes them."""
    inside = op.signature.partition("(")[2].partition(") ->")[0].partition("*")[0]
    return [part.split()[0].rstrip("?").partition("[")[0] for part in inside.split(",") if part.strip()]


def test_every_operator_takes_or_refuses():
    """Each operator given sparse tensors where it takes tensors gives a result, or an error that says what to do."""
    refused = 0
    operators = [record.op for record in registry.records.values()] + list(registry.inplace_records.values())
    others = {"int": 0, "float": 0.5, "bool": False, "Scalar": 1}
    for op in operators:
        kinds = kinds_of(op)
        if not kinds or kinds[0] not in ("Tensor", "Operand"):
            continue
        for t in (matrix(3, 3).to_sparse(), matrix(3, 3).to_sparse_csr(), torch.zeros(0, 3).to_sparse()):
            args = [t if kind in ("Tensor", "Operand") else others.get(kind, (0,)) for kind in kinds]
            try:
                op(*args)
            except NotImplementedError as error:
                refused += "Could not run" in str(error)
            except EXPECTED:
                pass
    assert refused > 300


def test_other_ways_to_memory():
    for t in (matrix(3, 3).to_sparse(), matrix(3, 3).to_sparse_csr()):
        for use in (
            lambda: t.data_ptr(),  # noqa: B023
            lambda: t.untyped_storage(),  # noqa: B023
            lambda: t.tolist(),  # noqa: B023
            lambda: t.numpy(),  # noqa: B023
            lambda: memoryview(t),  # noqa: B023
            lambda: t.__dlpack__(),  # noqa: B023
            lambda: t.share_memory_(),  # noqa: B023
            lambda: t.set_(torch.ones(3)),  # noqa: B023
            lambda: torch.ones(3).set_(t),  # noqa: B023
            lambda: t.resize_(3),  # noqa: B023
            lambda: t.view(9),  # noqa: B023
            lambda: t.as_strided((3,), (1,)),  # noqa: B023
            lambda: t.item(),  # noqa: B023
            lambda: bool(t),  # noqa: B023
            lambda: torch.tensor([t]),  # noqa: B023
            lambda: torch.from_numpy(t),  # noqa: B023
            lambda: torch.ones(3)[t],  # noqa: B023
            lambda: t.nbytes,  # noqa: B023
            lambda: torch.nn.utils.parameters_to_vector([t]),  # noqa: B023
        ):
            with pytest.raises((*EXPECTED, BufferError)):
                use()
    dense = torch.nn.Parameter(torch.ones(3, 3))
    with pytest.raises(RuntimeError, match="incompatible tensor type"):
        dense.data = matrix(3, 3).to_sparse()


def test_nothing_leaks():
    def use():
        t = matrix(4, 5).to_sparse().requires_grad_()
        (t * 2).to_dense().sum().backward()
        t.grad = None
        t.self = t

    before = torch.cpu.memory_stats()
    for _ in range(50):
        use()
    gc.collect()
    key = next(k for k in before if "in_use" in k or "allocated" in k or "active" in k)
    assert torch.cpu.memory_stats()[key] <= before[key] + 4096


@pytest.mark.parametrize("layout", [COO, CSR])
def test_files_with_bad_indices(layout):
    t = torch.sparse_coo_tensor([[5]], [1.0], (3,))
    if layout is CSR:
        t = torch.sparse_csr_tensor([0, 1], [5], [1.0], (1, 3))
    with pytest.raises(RuntimeError):
        pickle.loads(pickle.dumps(t))
