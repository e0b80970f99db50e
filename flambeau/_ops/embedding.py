"""Rows of a table by index."""

import flambeau

from .registry import composite, op


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


def _sparse_rows(grad, indices, shape, padding_idx, scale_grad_by_freq):
    """The gradient of the table as a COO tensor: one row for every index."""
    from .sparse.construct import make_coo

    if scale_grad_by_freq:
        raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
    flat = indices.reshape(-1).long()
    rows = grad.reshape(flat.numel(), *shape[1:])
    if padding_idx != -1:
        kept = (flat != padding_idx).nonzero().squeeze(1)
        flat, rows = flat.index_select(0, kept), rows.index_select(0, kept)
    return make_coo(flat.unsqueeze(0), rows, shape)


embedding = op(
    "embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False)"
    " -> Tensor",
    """Rows of `weight` (num, dim) at integer `indices` (*): a tensor (*, dim).

    padding_idx: this row gets no gradient (-1: none). scale_grad_by_freq: divide a row's gradient by how often it was
    looked up. sparse: the gradient of `weight` is a sparse COO tensor of the rows looked up.

    >>> flambeau.embedding(flambeau.tensor([[1.0], [2.0]]), flambeau.tensor([1, 0, 1]))
    tensor([[2.],
            [1.],
            [2.]])
    """,
    method=False,
    vjp={
        "weight": lambda grad, weight_shape, indices, padding_idx, scale_grad_by_freq, sparse: (
            _sparse_rows(grad, indices, weight_shape, padding_idx, scale_grad_by_freq)
            if sparse
            else embedding_dense_backward(grad, indices, weight_shape[0], padding_idx, scale_grad_by_freq)
        ),
        "indices": None,
    },
)

op(
    "embedding_renorm_(Tensor input, Tensor indices, float max_norm, float norm_type) -> Tensor",
    """Scale the rows at `indices` whose norm of order `norm_type` exceeds `max_norm` down to it, in place.

    >>> flambeau.embedding_renorm_(flambeau.tensor([[3.0, 4.0], [6.0, 8.0]]), flambeau.tensor([1]), 5.0, 2.0)
    tensor([[3., 4.],
            [3., 4.]])
    """,
    method=False,
    why_not="not differentiable",
)


# --- bags of rows ----------------------------------------------------------------------------------------------------------


def _entry_scale(dtype, indices, offset2bag, bag_size, scale_grad_by_freq, mode, padding_idx):
    """The factor with which each entry takes part, without the samples' weights."""
    scale = ((indices != padding_idx) & (offset2bag >= 0)).to(dtype)
    if mode == 1:
        scale = scale / bag_size.to(dtype).index_select(0, offset2bag.clamp(min=0))
    if scale_grad_by_freq:
        scale = scale / flambeau.bincount(indices).index_select(0, indices).to(dtype)
    return scale


def _agreement(table, bags, indices, offset2bag):
    """Per entry: the product of its row and its bag."""
    return (embedding(table, indices) * embedding(bags, offset2bag.clamp(min=0))).sum(-1)


def _bag_second_order(
    grad, grad_output, indices, offset2bag, bag_size, max_indices, scale_grad_by_freq, mode, per_sample_weights,
    padding_idx, needs,
):  # fmt: skip
    indices, offset2bag = indices.long(), offset2bag.long()
    if mode == 2:
        picked = grad.gather(0, max_indices)
        return picked.masked_fill((bag_size == 0).unsqueeze(-1), 0), None
    padding_idx %= grad.size(0) + 1 if padding_idx == -1 else grad.size(0)
    scale = _entry_scale(grad.dtype, indices, offset2bag, bag_size, scale_grad_by_freq, mode, padding_idx)
    by_entry = scale if per_sample_weights is None else scale * per_sample_weights
    rows = embedding(grad, indices) * by_entry.unsqueeze(-1)
    first = flambeau.zeros_like(grad_output).index_add(0, offset2bag.clamp(min=0), rows)
    second = _agreement(grad, grad_output, indices, offset2bag) * scale if needs[1] else None
    return first, second


_embedding_bag_backward = op(
    "_embedding_bag_backward(Tensor grad_output, Tensor indices, Tensor offset2bag, Tensor bag_size, Tensor max_indices, "
    "int num_weights, bool scale_grad_by_freq, int mode, Tensor? per_sample_weights, int padding_idx) -> Tensor",
    "The gradient of the table of `_embedding_bag`.",
    public=False,
    method=False,
    vjp={
        "grad_output, per_sample_weights": _bag_second_order,
        "indices": None,
        "offset2bag": None,
        "bag_size": None,
        "max_indices": None,
    },
)


def _table_gradient(
    grad, weight_shape, indices, offset2bag, bag_size, max_indices, scale_grad_by_freq, mode, per_sample_weights,
    padding_idx, sparse,
):  # fmt: skip
    if grad is None:
        return None
    if sparse and mode != 2:
        indices, offset2bag = indices.long(), offset2bag.long()
        padding = padding_idx % weight_shape[0] if padding_idx != -1 else -1
        scale = _entry_scale(grad.dtype, indices, offset2bag, bag_size, False, mode, padding)
        scale = scale if per_sample_weights is None else scale * per_sample_weights
        rows = grad.index_select(0, offset2bag.clamp(min=0)) * scale.unsqueeze(1)
        return _sparse_rows(rows, indices, weight_shape, padding, scale_grad_by_freq)
    return _embedding_bag_backward(
        grad, indices, offset2bag, bag_size, max_indices, weight_shape[0], scale_grad_by_freq, mode,
        per_sample_weights, padding_idx,
    )  # fmt: skip


def _sample_gradient(grad, weight, indices, offset2bag, padding_idx):
    indices, offset2bag = indices.long(), offset2bag.long()
    found = _agreement(weight, grad, indices, offset2bag)
    if padding_idx != -1:
        found = found.masked_fill(indices == padding_idx % weight.size(0), 0)
    return found.masked_fill(offset2bag < 0, 0)


_embedding_bag = op(
    "_embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int mode=0, "
    "bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False, int padding_idx=-1)"
    " -> (Tensor output, Tensor offset2bag, Tensor bag_size, Tensor max_indices)",
    """Sums (mode 0), means (1) or maxima (2) of the rows of `weight` that each bag of indices names.

    Bag b has the entries from offsets[b] up to the next bag's; with `include_last_offset` the last offset ends the last bag.
    Also returns the bag of every entry, the bags' sizes without padding, and of maxima the rows they came from.
    """,
    method=False,
    vjp={
        "weight": _table_gradient,
        "per_sample_weights": lambda grad, weight, indices, offset2bag, padding_idx: (
            None if grad is None else _sample_gradient(grad, weight, indices, offset2bag, padding_idx)
        ),
        "indices": None,
        "offsets": None,
    },
)  # fmt: skip


@composite(aliases=("_embedding_bag_forward_only",))
def embedding_bag(
    weight, indices, offsets, scale_grad_by_freq=False, mode=0, sparse=False, per_sample_weights=None,
    include_last_offset=False, padding_idx=None,
):  # fmt: skip
    """Sums (mode 0), means (1) or maxima (2) of bags of rows, and what the backward pass needs of them.

    Returns (output, offset2bag, bag_size, max_indices); `flambeau.nn.functional.embedding_bag` gives the first alone.

    >>> table = flambeau.tensor([[1.0], [2.0], [3.0]])
    >>> flambeau.embedding_bag(table, flambeau.tensor([0, 2, 1]), flambeau.tensor([0, 2]))[0]
    tensor([[4.],
            [2.]])
    """
    padding_idx = -1 if padding_idx is None else padding_idx
    return tuple(
        _embedding_bag(
            weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset,
            padding_idx,
        )
    )  # fmt: skip
