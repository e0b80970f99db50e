"""Scaled dot-product attention as a composition: ``softmax(scale * query @ key.T + mask) @ value``."""

import math

import flambeau


def default_scale(query):
    """One over the root of the size of a query; without elements there is nothing to scale."""
    return 1.0 / math.sqrt(query.size(-1)) if query.size(-1) else 1.0


def causal_mask(queries, keys, device=None):
    """True where query i may look at key j: j <= i."""
    return flambeau.ones(queries, keys, dtype=flambeau.bool, device=device).tril()


def additive_mask(mask, dtype):
    """A mask of truth values as zeros and minus infinities."""
    if mask.dtype != flambeau.bool:
        return mask
    zeros = flambeau.zeros((), dtype=dtype, device=mask.device)
    return flambeau.where(mask, zeros, zeros - math.inf)


def masked_softmax(scores):
    """Softmax along the last dimension in which a row of minus infinities gives zeros, with zeros as gradient."""
    empty = scores.detach().amax(-1, keepdim=True) == -math.inf if scores.size(-1) else None
    if empty is None or not empty.any():
        return scores.softmax(-1)
    return scores.masked_fill(empty, 0.0).softmax(-1).masked_fill(empty, 0.0)


def attention(query, key, value, mask, dropout_p, is_causal, scale):
    """The composition, in float32 for narrower floats. `mask` is added to the scores; (..., L, S) or None."""
    dtype = query.dtype
    if dtype in (flambeau.float16, flambeau.bfloat16):
        query, key, value = query.float(), key.float(), value.float()
        mask = None if mask is None else mask.float()
    root = math.sqrt(abs(scale))  # on both factors, so that their product does not overflow sooner
    scores = (query * math.copysign(root, scale)) @ (key * root).transpose(-2, -1)
    if is_causal:
        mask = additive_mask(causal_mask(scores.size(-2), scores.size(-1), scores.device), scores.dtype)
    if mask is None:
        weights = scores.softmax(-1)
    else:
        weights = masked_softmax(scores + mask)
    if dropout_p > 0:
        weights = flambeau.nn.functional.dropout(weights, dropout_p)
    return (weights @ value).to(dtype)
