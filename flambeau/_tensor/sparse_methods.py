"""The methods of Tensor about sparse layouts; loaded when one is first called."""

from flambeau._ops.sparse.convert import (  # noqa: F401
    _coalesced_,
    _indices,
    _nnz,
    ccol_indices,
    coalesce,
    col_indices,
    crow_indices,
    dense_dim,
    indices,
    is_coalesced,
    resize_as_sparse_,
    row_indices,
    sparse_mask,
    sparse_resize_,
    sparse_resize_and_clear_,
    to_dense,
    to_sparse,
    to_sparse_bsc,
    to_sparse_bsr,
    to_sparse_coo,
    to_sparse_csc,
    to_sparse_csr,
    values,
)
from flambeau._ops.sparse.convert import _values_of as _values  # noqa: F401
from flambeau._ops.sparse.convert import sparse_dim_method as sparse_dim  # noqa: F401
from flambeau._ops.sparse.products import smm, sspaddmm  # noqa: F401
