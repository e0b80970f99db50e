"""Attention: of given queries, keys and values, and of several heads with projections."""

import math
import warnings

import flambeau

from .._ops import attention as _ops
from .._ops.casts import in_autocast
from . import _functional_linear as _linear
from ._functional_conv import pad
from ._functional_dropout import dropout

#: What computes scaled dot-product attention instead, set by context parallelism.
replacement = None

# ---- scaled dot-product attention ----------------------------------------------------------------------------------


@in_autocast("lower")
def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, *, scale=None, enable_gqa=False
):
    """``softmax(scale * query @ key.T + mask) @ value``, the weights dropped out with probability `dropout_p`.

    Shapes: query (..., L, E), key (..., S, E), value (..., S, Ev); the result has (..., L, Ev).

    Args:
        attn_mask: broadcasts to (..., L, S). Of booleans: True where a query may look at a key; otherwise added to the
            scores. A query that may look at nothing gets zeros.
        is_causal: query i looks at keys 0 to i only.
        scale: default ``1 / sqrt(E)``.
        enable_gqa: a head of `key` and `value` (dimension -3) serves several neighbouring ones of `query`.

    >>> q = flambeau.zeros(1, 2, 4)
    >>> F.scaled_dot_product_attention(q, q, flambeau.tensor([[[1.0], [3.0]]]))
    tensor([[[2.],
             [2.]]])
    """
    _check_operands(query, key, value, attn_mask)
    if replacement is not None:
        return replacement(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    if not 0.0 <= dropout_p <= 1.0:
        raise RuntimeError(
            f"scaled_dot_product_attention: dropout probability has to be between 0 and 1, but got {dropout_p}"
        )
    mask = None if attn_mask is None else _ops.additive_mask(attn_mask, query.dtype)
    if mask is not None and mask.dim() < 2:
        mask = mask.reshape(1, -1)
    if enable_gqa:
        key, value = _shared_heads(query, key, value)
    if is_causal and mask is not None:
        # PyTorch's fused kernel obeys both, its other implementation refuses them.
        if query.dim() != 4 or dropout_p > 0 or mask.requires_grad:
            raise RuntimeError(
                "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
            )
        _check_mask_shape(query, key, value, mask)
        allowed = _ops.causal_mask(query.size(-2), key.size(-2), mask.device)
        mask, is_causal = mask + _ops.additive_mask(allowed, mask.dtype), False
    if mask is not None:
        _check_mask_shape(query, key, value, mask)
    scale = _ops.default_scale(query) if scale is None else float(scale)
    return _ops.attention(query, key, value, mask, dropout_p, is_causal, scale)


def _check_operands(query, key, value, mask):
    name = "scaled_dot_product_attention"
    operands = (("query", query), ("key", key), ("value", value))
    for position, (what, operand) in enumerate(operands, 1):
        if not isinstance(operand, flambeau.Tensor):
            raise TypeError(
                f"{name}(): argument '{what}' (position {position}) must be Tensor, not {type(operand).__name__}"
            )
    if min(operand.dim() for _, operand in operands) < 2:
        found = ", ".join(f"{what}.dim: {operand.dim()}" for what, operand in operands)
        raise RuntimeError(
            f"{name}: Expected query, key, and value to all be  at least 2 dimensional, but got {found}"
        )
    if not query.dtype == key.dtype == value.dtype:
        found = ", ".join(f"{what}.dtype: {operand.dtype}" for what, operand in operands)
        raise RuntimeError(f"{name}: Expected query, key, and value to have the same dtype, but got {found}")
    if not query.is_floating_point():
        if query.is_complex():
            raise NotImplementedError(f'{name}: "softmax" not implemented for {query.dtype}')
        raise RuntimeError(f"{name}: expected scalar type Float but found {query.dtype}")
    if query.size(-1) != key.size(-1):
        raise RuntimeError(
            f"{name}: query {list(query.shape)} and key {list(key.shape)} must have last dimensions of one size"
        )
    if key.size(-2) != value.size(-2):
        raise RuntimeError(
            f"{name}: key {list(key.shape)} and value {list(value.shape)} must have as many rows (dimension -2)"
        )
    if mask is None:
        return
    if mask.dtype not in (flambeau.bool, flambeau.float32, query.dtype):
        raise RuntimeError(
            f"{name}: Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{mask.dtype} and query.dtype: {query.dtype}"
        )
    if mask.dim() < 2 and query.dim() == 4:  # what PyTorch's fused kernel refuses
        raise IndexError(
            f"{name}: Dimension out of range: attn_mask of shape {list(mask.shape)} has to have two dimensions or more"
        )


def _check_mask_shape(query, key, value, mask):
    scores = (*_ops.leading_shape(query, key, value), query.size(-2), key.size(-2))
    sizes = zip(reversed(mask.shape), reversed(scores), strict=False)
    if mask.dim() > len(scores) or any(m not in (1, s) for m, s in sizes):
        raise RuntimeError(
            f"scaled_dot_product_attention: attn_mask of shape {list(mask.shape)} doesn't match the broadcast shape "
            f"{list(scores)} of the scores: every size must match it or be 1"
        )


def _shared_heads(query, key, value):
    """`key` and `value` with as many heads as `query`."""
    heads = query.size(-3)
    for operand in (key, value):
        if operand.size(-3) == 0 or heads % operand.size(-3):
            raise RuntimeError(
                "scaled_dot_product_attention: Number of heads in key and value must divide the number of heads in "
                f"query, but got {heads} heads for {operand.size(-3)}"
            )
    return (
        operand if operand.size(-3) == heads else operand.repeat_interleave(heads // operand.size(-3), dim=-3)
        for operand in (key, value)
    )


# ---- several heads ---------------------------------------------------------------------------------------------------


def float_mask(mask, name, other_dtype, other_name, dtype, *, warn=True):
    """A mask that is added to scores: `dtype` minus infinities for truth values, floating point as it is; None stays.

    `other_dtype` is that of the other mask, None if there is none.
    """
    if mask is None:
        return None
    if mask.dtype != flambeau.bool and not mask.is_floating_point():
        raise AssertionError(
            f"only bool and floating types of {name} are supported, got a mask of {mask.dtype}"
        )
    if warn and other_dtype not in (None, mask.dtype):
        warnings.warn(
            f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    if mask.dtype == flambeau.bool:
        return flambeau.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)
    return mask


def _check_ranks(query, key, value, padding, mask, heads):
    """Whether the input has a batch dimension, its number of dimensions and that of the masks checked."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query tensor"
        )
    batched = query.dim() == 3
    head = f"For {'batched (3-D)' if batched else 'unbatched (2-D)'} `query`, expected"
    if key.dim() != query.dim() or value.dim() != query.dim():
        raise AssertionError(
            f"{head} `key` and `value` to be {query.dim()}-D but found {key.dim()}-D and {value.dim()}-D tensors "
            "respectively"
        )
    if padding is not None and padding.dim() != query.dim() - 1:
        raise AssertionError(
            f"{head} `key_padding_mask` to be `None` or {query.dim() - 1}-D but found {padding.dim()}-D tensor instead"
        )
    if mask is not None:
        if mask.dim() not in (2, 3):
            raise AssertionError(
                f"{head} `attn_mask` to be `None`, 2-D or 3-D but found {mask.dim()}-D tensor instead"
            )
        expected = (heads, query.size(0), key.size(0))
        if not batched and mask.dim() == 3 and tuple(mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {mask.shape}")
    return batched


def _project_together(query, key, value, weight, bias):
    """The three projections by the thirds of one weight (3 E, E): one product where the inputs are one tensor."""
    size = query.size(-1)
    if query is key and key is value:
        return _linear.linear(query, weight, bias).chunk(3, dim=-1)
    if key is value:
        biases = (None, None) if bias is None else bias.split([size, 2 * size])
        weights = weight.split([size, 2 * size])
        both = _linear.linear(key, weights[1], biases[1]).chunk(2, dim=-1)
        return _linear.linear(query, weights[0], biases[0]), *both
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(map(_linear.linear, (query, key, value), weight.chunk(3), biases))


def _project_apart(query, key, value, weights, bias):
    expected = (("query", query.size(-1)), ("key", key.size(-1)), ("value", value.size(-1)))
    for (name, columns), weight in zip(expected, weights, strict=True):
        shape = (query.size(-1), columns)
        if weight is None:
            raise AssertionError(
                f"use_separate_proj_weight is True but {name[0]}_proj_weight is None: three weights are needed"
            )
        if tuple(weight.shape) != shape:
            raise AssertionError(f"expecting {name} weights shape of {shape}, but got {weight.shape}")
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return tuple(map(_linear.linear, (query, key, value), weights, biases))


def _extended(mask):
    """A mask for one key more, which every query sees."""
    return None if mask is None else pad(mask, (0, 1))


def _given_heads(tensor, name, batch, heads, size):
    """`static_k` or `static_v`, (batch * heads, S, size), checked."""
    if tensor.size(0) != batch * heads:
        raise AssertionError(f"expecting {name}.size(0) of {batch * heads}, but got {tensor.size(0)}")
    if tensor.size(2) != size:
        raise AssertionError(f"expecting {name}.size(2) of {size}, but got {tensor.size(2)}")
    return tensor


def _joint_mask(mask, padding, batch, heads, targets, sources):
    """The sum of both masks as (batch, heads, L, S), or (1, 1, L, S) where it is the same for all; None for none."""
    if mask is not None:
        mask = (
            mask.unsqueeze(0).unsqueeze(0) if mask.dim() == 2 else mask.view(batch, heads, targets, sources)
        )
    if padding is None:
        return mask
    padding = padding.view(batch, 1, 1, sources)
    return padding.expand(-1, heads, -1, -1) if mask is None else mask + padding


def multi_head_attention_forward(
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
):
    """What :class:`MultiheadAttention` computes, given its parameters; returns (output, weights or None).

    Shapes: query (L, N, E), key (S, N, Ek), value (S, N, Ev), or all without N; output as query; the weights (N, L, S), or
    (N, heads, L, S) with ``average_attn_weights=False``.

    Args:
        in_proj_weight: (3 E, E), the three projections' weights one below the other; with `use_separate_proj_weight`
            the three that have names of their own are used.
        bias_k, bias_v: (1, 1, E), one key and value more. add_zero_attn: one of zeros.
        key_padding_mask: (N, S), True (or minus infinity) for keys that nobody may look at.
        attn_mask: (L, S) or (N * heads, L, S), True (or minus infinity) where a query may *not* look at a key.
        static_k, static_v: (N * heads, S, E / heads), projected keys and values to use.
        is_causal: says that `attn_mask` is the causal mask, which then need not be read.
    """
    batched = _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:  # a batch of one
        same_key, same_value = key is query, value is key
        query = query.unsqueeze(1)
        key = query if same_key else key.unsqueeze(1)
        value = key if same_value else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    targets, batch, size = query.shape
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint: nn.Transformer.generate_square_subsequent_mask makes it"
        )
    mask_dtype = None if attn_mask is None else attn_mask.dtype
    padding = float_mask(key_padding_mask, "key_padding_mask", mask_dtype, "attn_mask", query.dtype)
    # The fused product needs no mask to be causal; whoever wants the weights, or pads, has it added.
    is_causal = is_causal and padding is None and not need_weights
    mask = None if is_causal else float_mask(attn_mask, "attn_mask", None, "", query.dtype)

    if size != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {size}")
    head_size = size // num_heads
    if head_size * num_heads != size:
        raise AssertionError(f"embed_dim {size} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
            )
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = _project_apart(query, key, value, weights, in_proj_bias)
    else:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if in_proj_weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        q, k, v = _project_together(query, key, value, in_proj_weight, in_proj_bias)

    if mask is not None:
        expected = (targets, key.size(0)) if mask.dim() == 2 else (batch * num_heads, targets, key.size(0))
        if tuple(mask.shape) != expected:
            raise RuntimeError(
                f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}."
            )
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v have to be given both or neither")
    if bias_k is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k = flambeau.cat([k, bias_k.repeat(1, batch, 1)])
        v = flambeau.cat([v, bias_v.repeat(1, batch, 1)])
        mask, padding = _extended(mask), _extended(padding)

    def by_head(x):
        """(length, N, E) as (N * heads, length, E / heads)."""
        return x.reshape(x.size(0), batch * num_heads, head_size).transpose(0, 1)

    q = by_head(q)
    k = by_head(k) if static_k is None else _given_heads(static_k, "static_k", batch, num_heads, head_size)
    v = by_head(v) if static_v is None else _given_heads(static_v, "static_v", batch, num_heads, head_size)
    if add_zero_attn:
        zeros = k.new_zeros(batch * num_heads, 1, head_size)
        k, v = flambeau.cat([k, zeros], 1), flambeau.cat([v, zeros], 1)
        mask, padding = _extended(mask), _extended(padding)
    sources = k.size(1)
    if padding is not None and tuple(padding.shape) != (batch, sources):
        side = 0 if padding.size(0) != batch else 1
        raise AssertionError(
            f"Expected key_padded_mask.shape[{side}] to be {(batch, sources)[side]}, but got {padding.size(side)}"
        )
    q, k, v = (x.unflatten(0, (batch, num_heads)) for x in (q, k, v))
    mask = _joint_mask(mask, padding, batch, num_heads, targets, sources)
    dropout_p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        scores = (q * math.sqrt(1.0 / head_size)) @ k.transpose(-2, -1)
        weights = dropout((scores if mask is None else scores + mask).softmax(-1), dropout_p)
        output = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    else:
        output = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal)
    output = output.permute(2, 0, 1, 3).reshape(targets, batch, size)
    output = _linear.linear(output, out_proj_weight, out_proj_bias)
    return output if batched else output.squeeze(1), weights
