"""Rows of sorted elements as counts, and counts as rows: what libraries of graphs call by the operators' inner names."""

import flambeau

from .core import rows_of, starts_of_sorted


def _index_dtype(out_int32):
    return flambeau.int32 if out_int32 else flambeau.int64


def _convert_indices_from_coo_to_csr(input, size, *, out_int32=False):
    """For sorted row indices below `size`: how many lie before each row, and in all.

    >>> flambeau._convert_indices_from_coo_to_csr(flambeau.tensor([0, 0, 2]), 4)
    tensor([0, 2, 2, 3, 3])
    """
    if input.dim() > 1:
        raise RuntimeError(f"Input is supposed to be a vector, but got {input.dim()} dimensional tensor.")
    return starts_of_sorted(input, size).to(_index_dtype(out_int32))


def _convert_indices_from_csr_to_coo(crow_indices, col_indices, *, out_int32=False, transpose=False):
    """(rows, columns) of the elements of a compressed matrix, stacked; with `transpose` columns first.

    >>> flambeau._convert_indices_from_csr_to_coo(flambeau.tensor([0, 1, 3]), flambeau.tensor([0, 1, 0]))
    tensor([[0, 1, 1],
            [0, 1, 0]])
    """
    if crow_indices.dim() != 1 or col_indices.dim() != 1:
        raise RuntimeError(
            "_convert_indices_from_csr_to_coo: batches of compressed indices are not supported"
        )
    rows = rows_of(crow_indices, col_indices.numel())
    pair = (col_indices, rows) if transpose else (rows, col_indices)
    return flambeau.stack([part.to(_index_dtype(out_int32)) for part in pair])
