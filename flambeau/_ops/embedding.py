"""Rows of a table by index."""

import flambeau

from .registry import op


def _lookup_grads(grad, indices, padding_idx, scale_grad_by_freq):
    """What the derivative of `embedding_dense_backward` gives each index."""
    rows = embedding(grad, indices)
    if scale_grad_by_freq:
        flat = indices.reshape(-1)
        counts = flambeau.bincount(flat, minlength=grad.size(0)).index_select(0, flat)
        rows = rows / counts.to(grad.dtype).view(indices.shape).unsqueeze(-1)
    if padding_idx >= 0:
        rows = rows.masked_fill((indices == padding_idx).unsqueeze(-1), 0)
    return rows


embedding_dense_backward = op(
    "embedding_dense_backward(Tensor grad_output, Tensor indices, int num_weights, int padding_idx, "
    "bool scale_grad_by_freq) -> Tensor",
    "The gradient of the table: (num_weights, grad_output.size(-1)); the row `padding_idx` gets none.",
    public=False,
    method=False,
    vjp={
        "grad_output": lambda grad, indices, padding_idx, scale_grad_by_freq: _lookup_grads(
            grad, indices, padding_idx, scale_grad_by_freq
        ),
        "indices": None,
    },
)
embedding = op(
    "embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False)"
    " -> Tensor",
    """Rows of `weight` (num, dim) at integer `indices` (*): a tensor (*, dim).

    padding_idx: this row gets no gradient (-1: none). scale_grad_by_freq: divide a row's gradient by how often it was
    looked up. sparse: accepted; gradients are dense.

    >>> flambeau.embedding(flambeau.tensor([[1.0], [2.0]]), flambeau.tensor([1, 0, 1]))
    tensor([[2.],
            [1.],
            [2.]])
    """,
    method=False,
    vjp={
        "weight": lambda grad, weight_shape, indices, padding_idx, scale_grad_by_freq: (
            embedding_dense_backward(grad, indices, weight_shape[0], padding_idx, scale_grad_by_freq)
        ),
        "indices": None,
    },
)
