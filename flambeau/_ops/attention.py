"""Scaled dot-product attention, ``softmax(scale * query @ key.T + mask) @ value``: fused, and as a composition."""

import math

import flambeau

from .registry import op
from .second_order import vjp_through
from .truth import any_true

# ---- fused: forward keeps one number per query, backward computes the weights anew -----------------------------------


def _gradients(grad_output, query, key, value, mask, is_causal, scale):
    """The gradients with respect to query, key and value, with differentiable operators."""
    weights = _weights(query, key, mask, is_causal, scale)
    products = grad_output @ value.transpose(-2, -1)
    slopes = weights * (products - (weights * products).sum(-1, keepdim=True)) * scale
    return slopes @ key, slopes.transpose(-2, -1) @ query, weights.transpose(-2, -1) @ grad_output


def _second(grads, grad_output, query, key, value, attn_mask, is_causal, scale, needs):
    return vjp_through(
        lambda g, q, k, v: _gradients(g, q, k, v, attn_mask, is_causal, scale),
        (grad_output, query, key, value),
        grads,
        needs,
    )


_fused_backward = op(
    "_scaled_dot_product_flash_attention_for_cpu_backward(Tensor grad_output, Tensor query, Tensor key, Tensor value, "
    "Tensor? attn_mask, Tensor output, Tensor logsumexp, bool is_causal, float scale)"
    " -> (Tensor grad_query, Tensor grad_key, Tensor grad_value)",
    "Gradients of `_scaled_dot_product_flash_attention_for_cpu`.",
    public=False,
    method=False,
    vjp={
        "grad_output, query, key, value": _second,
        "attn_mask": None,
        "output": None,
        "logsumexp": None,
    },
)


def _fused_vjp(grad, query, key, value, attn_mask, output, logsumexp, is_causal, scale):
    if grad is None:
        return None, None, None
    return tuple(_fused_backward(grad, query, key, value, attn_mask, output, logsumexp, is_causal, scale))


_fused = op(
    "_scaled_dot_product_flash_attention_for_cpu(Tensor query, Tensor key, Tensor value, Tensor? attn_mask, "
    "bool is_causal, float scale) -> (Tensor output, Tensor logsumexp)",
    """Attention without the matrix of weights, and the logarithm of the sum of exp of every query's scores.

    query: (..., L, E), key: (..., S, E), value: (..., S, Ev), attn_mask: (..., L, S) or None, which has no gradient; all
    with elements and the same leading sizes.
    """,
    public=False,
    method=False,
    vjp={"query, key, value": _fused_vjp, "attn_mask": None},
)

# ---- the composition -----------------------------------------------------------------------------------------------


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
    if empty is None or not any_true(empty):
        return scores.softmax(-1)
    return scores.masked_fill(empty, 0.0).softmax(-1).masked_fill(empty, 0.0)


def _weights(query, key, mask, is_causal, scale):
    """softmax(scale * query @ key.T + mask)"""
    root = math.sqrt(abs(scale))  # on both factors, so that their product does not overflow sooner
    scores = (query * math.copysign(root, scale)) @ (key * root).transpose(-2, -1)
    if is_causal:
        mask = additive_mask(causal_mask(scores.size(-2), scores.size(-1), scores.device), scores.dtype)
    return scores.softmax(-1) if mask is None else masked_softmax(scores + mask)


def attention(query, key, value, mask, dropout_p, is_causal, scale):
    """Attention of checked operands. `mask` is added to the scores; it broadcasts to (..., L, S), or is None.

    Dropout, gradients of the mask and operands without elements are left to the composition, which computes float16 and
    bfloat16 in float32 like the fused operator.
    """
    dtype = query.dtype
    if dropout_p == 0 and query.numel() and key.numel() and value.numel():
        if mask is None:
            return _fused(*_broadcast(query, key, value), None, is_causal, scale)[0]
        if not (mask.requires_grad and flambeau.is_grad_enabled()):
            query, key, value = _broadcast(query, key, value)
            mask = mask.to(dtype).expand(*query.shape[:-1], key.size(-2))
            return _fused(query, key, value, mask, is_causal, scale)[0]
    if dtype in (flambeau.float16, flambeau.bfloat16):
        query, key, value = query.float(), key.float(), value.float()
        mask = None if mask is None else mask.float()
    weights = _weights(query, key, mask, is_causal, scale)
    if dropout_p > 0:
        weights = flambeau.nn.functional.dropout(weights, dropout_p)
    return (weights @ value).to(dtype)


def _broadcast(*operands):
    """The tensors as views with the same leading sizes."""
    shapes = [x.shape[:-2] for x in operands]
    if all(shape == shapes[0] for shape in shapes):
        return operands
    lead = leading_shape(*operands)
    return tuple(x.expand(*lead, *x.shape[-2:]) for x in operands)


def leading_shape(*operands):
    """What the sizes before the last two broadcast to."""
    lead = []
    for x in operands:
        shape = x.shape[:-2]
        lead = [1] * (len(shape) - len(lead)) + lead
        for i in range(-len(shape), 0):
            if lead[i] == 1:
                lead[i] = shape[i]
            elif shape[i] not in (1, lead[i]):
                raise RuntimeError(
                    f"scaled_dot_product_attention: The size of tensor a ({lead[i]}) must match the size of tensor b "
                    f"({shape[i]}) at non-singleton dimension {len(lead) + i}"
                )
    return lead
