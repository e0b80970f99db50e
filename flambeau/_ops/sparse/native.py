"""Native operators on the parts of sparse matrices, which are dense: they take no sparse tensors and are not recorded."""

from flambeau import _C

times_dense = _C.Op(
    "_compressed_rows_times_dense(Tensor starts, Tensor columns, Tensor values, Tensor dense) -> Tensor",
    "The product of a matrix in compressed rows and a dense one, of a floating dtype.",
)
times_sparse = _C.Op(
    "_compressed_rows_times_sparse(Tensor starts, Tensor columns, Tensor values, Tensor other_starts, "
    "Tensor other_columns, Tensor other_values, int width) -> (Tensor starts, Tensor columns, Tensor values)",
    "The product of two matrices in compressed rows, the second of `width` columns, in compressed rows.",
)
#: Each thread of `times_sparse` keeps a row of the product: wider ones are computed otherwise.
WIDEST = 1 << 24
