"""Functions of sparse tensors.

Sparse tensors are made with `flambeau.sparse_coo_tensor`, `flambeau.sparse_csr_tensor` and their like, or by
`Tensor.to_sparse`. Most operators take them as they take strided ones, or raise NotImplementedError; here is what has a
meaning of its own for them. Gradients of these functions have the places of the sparse operand.
"""

from .._ops.sparse.construct import check_sparse_tensor_invariants, spdiags
from .._ops.sparse.products import addmm, mm, sampled_addmm
from .._ops.sparse.reductions import log_softmax, softmax
from .._ops.sparse.reductions import sparse_sum as sum
from .gradcheck import as_sparse_gradcheck

__all__ = [
    "addmm",
    "as_sparse_gradcheck",
    "check_sparse_tensor_invariants",
    "log_softmax",
    "mm",
    "sampled_addmm",
    "softmax",
    "spdiags",
    "sum",
]


def __getattr__(name):
    from .._tensor.legacy import sparse_types

    if name in sparse_types:
        return sparse_types[name]
    raise AttributeError(f"module 'flambeau.sparse' has no attribute {name!r}")
