"""Distances and similarities between vectors."""

import flambeau


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """Norm of order `p` of ``x1 - x2 + eps`` over the last dimension; the shapes broadcast."""
    return flambeau.linalg.vector_norm(x1 - x2 + eps, p, dim=-1, keepdim=keepdim)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """``x1 . x2 / (max(|x1|, eps) * max(|x2|, eps))`` along `dim`; the shapes broadcast."""
    dtype = flambeau.result_type(x1, x2)
    if not dtype.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype}")
    x1, x2 = x1.to(dtype), x2.to(dtype)
    x1, x2 = flambeau.broadcast_tensors(x1, x2)
    norm1 = flambeau.linalg.vector_norm(x1, 2, dim=dim, keepdim=True).clamp_min(eps)
    norm2 = flambeau.linalg.vector_norm(x2, 2, dim=dim, keepdim=True).clamp_min(eps)
    return ((x1 / norm1) * (x2 / norm2)).sum(dim)


def pdist(input, p=2.0):
    """Distances of order `p` between all pairs of rows of (N, M), as N * (N - 1) / 2 values."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    rows, cols = flambeau.triu_indices(input.size(0), input.size(0), 1)
    return flambeau.linalg.vector_norm(input.index_select(0, rows) - input.index_select(0, cols), p, dim=1)
