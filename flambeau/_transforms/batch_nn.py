"""Rules of the operators of neural networks: convolution, pooling, resizing, normalisation, losses, attention."""

import flambeau

from .. import _C
from .batching import Tensor, batched_front, front, rank, register_rule, rule

_call = _C._call


def _merged(value):
    """(B, N, ...) as (B * N, ...)."""
    return value.reshape(value.shape[0] * value.shape[1], *value.shape[2:])


def _split(result, size):
    return result.reshape(size, result.shape[0] // size, *result.shape[1:])


# ---- windows over images: examples are more images -----------------------------------------------------------------


def images(*positions, spatial=None, sizes=None):
    """The rule of operators that treat every image (N, C, ...) alike.

    spatial: how many spatial dimensions the arguments say there are; an input with one dimension more has no N.
    sizes: the parameter that has the size of the whole input.
    """

    def run(op, values, dims, size):
        out = list(values)
        space = spatial(values) if spatial else None
        merged = True
        for i in positions:
            if not isinstance(values[i], Tensor):
                continue
            value = batched_front(values[i], dims[i], size)
            # Without N the examples take its place.
            merged = space is None or value.ndim - 1 > space + 1
            out[i] = _merged(value) if merged else value
        if sizes is not None:
            whole = tuple(values[sizes])
            out[sizes] = (size * whole[0], *whole[1:]) if merged else (size, *whole)
        result = _call(op, tuple(out))
        if not merged:
            return result, 0
        if isinstance(result, Tensor):
            return _split(result, size), 0
        return tuple(_split(r, size) for r in result), 0

    return run


register_rule("_max_pool_with_indices", images(0, spatial=lambda v: len(v[1])))
register_rule("_adaptive_max_pool_with_indices", images(0, spatial=lambda v: len(v[1])))
register_rule("_max_pool_backward", images(0, 1, spatial=lambda v: v[3], sizes=2))
register_rule("_avg_pool", images(0, spatial=lambda v: len(v[1])))
register_rule("_avg_pool_backward", images(0, spatial=lambda v: len(v[2]), sizes=1))
register_rule("_adaptive_avg_pool", images(0, spatial=lambda v: len(v[1])))
register_rule("_adaptive_avg_pool_backward", images(0, spatial=lambda v: len(v[2]), sizes=1))
register_rule("_fold", images(0))
register_rule("_unfold", images(0))
register_rule("_resize", images(0))
register_rule("_resize_backward", images(0, sizes=1))
register_rule("grid_sampler_2d", images(0, 1))
register_rule("grid_sampler_3d", images(0, 1))


@rule("_grid_sampler_backward")
def grid_sampler_backward(op, values, dims, size):
    """Three tensors of images; what is not wanted is None."""
    out = list(values)
    for i in range(3):
        out[i] = _merged(batched_front(values[i], dims[i], size))
    result = _call(op, tuple(out))
    return tuple(None if r is None else _split(r, size) for r in result), 0


@rule("_fractional_max_pool")
def fractional_max_pool(op, values, dims, size):
    """The draws are (N, C, dimensions), with N = 1 where the input has none."""
    x, kernel, shape, draws = values
    x, draws = batched_front(x, dims[0], size), batched_front(draws, dims[3], size)
    if x.ndim - 1 > len(kernel) + 1:
        result = _call(op, (_merged(x), kernel, shape, _merged(draws)))
        return tuple(_split(r, size) for r in result), 0
    return _call(op, (x, kernel, shape, _merged(draws))), 0


@rule("_max_pool")
def max_pool(op, values, dims, size):
    """The form that has a derivative, where one is needed below."""
    from .._ops.pooling import max_pool as pool

    return _pooled(pool, values, dims, size)


@rule("_adaptive_max_pool")
def adaptive_max_pool(op, values, dims, size):
    """The form that has a derivative, where one is needed below."""
    from .._ops.pooling import adaptive_max_pool as pool

    return _pooled(pool, values, dims, size)


def _pooled(pool, values, dims, size):
    value = front(values[0], dims[0])
    if value.ndim - 1 > len(values[1]) + 1:
        return _split(pool(_merged(value), *values[1:]), size), 0
    return pool(value, *values[1:]), 0


# ---- convolution ---------------------------------------------------------------------------------------------------


@rule("convolution")
def convolution(op, values, dims, size):
    """Inputs alone: more images. Weights too: groups of channels, one set per example."""
    x, weight, bias, *options = values
    dx, dw, db = dims[:3]
    groups = options[5]
    if dw is None and db is None:
        out = _call(op, (_merged(front(x, dx)), weight, bias, *options))
        return _split(out, size), 0
    later = None
    if bias is not None:
        later, bias = (
            (
                front(bias, db).reshape(size, 1, -1, *(1,) * (rank(x, dx) - 2))
                if db is not None
                else bias.reshape(1, 1, -1, *(1,) * (rank(x, dx) - 2))
            ),
            None,
        )
    if dw is None:
        out = _call(op, (_merged(batched_front(x, dx, size)), weight, None, *options))
        out = _split(out, size)
        return out + later, 0
    w = front(weight, dw)
    x = batched_front(x, dx, size)
    n = x.shape[1]
    # Channels of example b in group b: (N, B * C, ...).
    wide = x.movedim(0, 1).reshape(n, size * x.shape[2], *x.shape[3:])
    out = _call(op, (wide, _merged(w), None, *options[:5], groups * size))
    out = out.reshape(n, size, out.shape[1] // size, *out.shape[2:]).movedim(1, 0)
    return (out if later is None else out + later), 0


@rule("_convolution_weight")
def convolution_weight(op, values, dims, size):
    """A gradient per example: the examples are groups of channels."""
    x, grad, shape, stride, padding, dilation, groups = values
    x, grad = batched_front(x, dims[0], size), batched_front(grad, dims[1], size)
    n = x.shape[1]
    wide = x.movedim(0, 1).reshape(n, size * x.shape[2], *x.shape[3:])
    wide_grad = grad.movedim(0, 1).reshape(n, size * grad.shape[2], *grad.shape[3:])
    out = _call(
        op, (wide, wide_grad, (size * shape[0], *shape[1:]), stride, padding, dilation, groups * size)
    )
    return out.reshape(size, *shape), 0


# ---- normalisation -------------------------------------------------------------------------------------------------


def _beside(parameter, dim, size, lead):
    """A parameter per example, after `lead` dimensions of the input."""
    if parameter is None or dim is None:
        return parameter
    parameter = front(parameter, dim)
    return parameter.reshape(size, *(1,) * lead, *parameter.shape[1:])


def _norm_rule(with_bias):
    def run(op, values, dims, size):
        x, shape, weight = values[:3]
        bias = values[3] if with_bias else None
        lead = rank(x, dims[0]) - len(shape)
        x = batched_front(x, dims[0], size)
        same = dims[2] is None and (not with_bias or dims[3] is None)
        if same:
            return _call(op, (x, *values[1:])), 0
        rest = values[4:] if with_bias else values[3:]
        bare = _call(op, (x, shape, None, None, *rest) if with_bias else (x, shape, None, *rest))
        out = bare[0]
        if weight is not None:
            out = out * _beside(weight, dims[2], size, lead)
        if bias is not None:
            out = out + _beside(bias, dims[3], size, lead)
        return (out, *bare[1:]), 0

    return run


register_rule("native_layer_norm", _norm_rule(True))
register_rule("_rms_norm", _norm_rule(False))


def _wanted(results, mask):
    return tuple(r if mask >> i & 1 else None for i, r in enumerate(results))


@rule("native_layer_norm_backward")
def layer_norm_backward(op, values, dims, size):
    """The input's gradient for all examples at once; the parameters' as sums over each example's own rows."""
    grad, x, shape, mean, rstd, weight, eps, mask = values
    lead = rank(x, dims[1]) - len(shape)
    grad, x = batched_front(grad, dims[0], size), batched_front(x, dims[1], size)
    mean, rstd = batched_front(mean, dims[3], size), batched_front(rstd, dims[4], size)
    scaled = grad if weight is None else grad * _beside(weight, dims[5], size, lead)
    grad_x = grad_w = grad_b = None
    if mask & 1:
        grad_x = _call(op, (scaled, x, shape, mean, rstd, None, eps, 1))[0]
    over = tuple(range(1, lead + 1))
    if mask & 2:
        tail = (1,) * (x.ndim - mean.ndim)
        normal = (x - mean.reshape(*mean.shape, *tail)) * rstd.reshape(*rstd.shape, *tail)
        grad_w = (grad * normal).to(x.dtype)
        grad_w = grad_w.sum(over) if lead else grad_w
    if mask & 4:
        grad_b = grad.sum(over) if lead else grad
    return (grad_x, grad_w, grad_b), 0


@rule("_rms_norm_backward")
def rms_norm_backward(op, values, dims, size):
    """As that of layer_norm, without a mean."""
    grad, x, shape, rstd, weight, eps, mask = values
    lead = rank(x, dims[1]) - len(shape)
    grad, x = batched_front(grad, dims[0], size), batched_front(x, dims[1], size)
    rstd = batched_front(rstd, dims[3], size)
    scaled = grad if weight is None else grad * _beside(weight, dims[4], size, lead)
    grad_x = grad_w = None
    if mask & 1:
        grad_x = _call(op, (scaled, x, shape, rstd, None, eps, 1))[0]
    if mask & 2:
        grad_w = (grad * x * rstd.reshape(*rstd.shape, *(1,) * (x.ndim - rstd.ndim))).to(x.dtype)
        grad_w = grad_w.sum(tuple(range(1, lead + 1))) if lead else grad_w
    return (grad_x, grad_w), 0


def _channels(parameter, dim, size, ndim):
    """A parameter per channel beside (B, N, C, ...)."""
    if parameter is None:
        return None
    parameter = batched_front(parameter, dim, size)
    return parameter.reshape(size, 1, -1, *(1,) * (ndim - 3))


@rule("_batch_norm")
def batch_norm(op, values, dims, size):
    """Examples are more channels; a set of parameters and running statistics per example."""
    x, weight, bias, mean, var, training, momentum, eps = values
    if training and any(v is not None and dims[i] is None for i, v in ((3, mean), (4, var))):
        raise RuntimeError(
            "vmap: batch_norm writes the running statistics in place (running_mean, running_var), which are the same for "
            "all examples here. Use track_running_stats=False, func.replace_all_batch_norm_modules_, evaluation mode, or "
            "vmap over the statistics too"
        )
    x = batched_front(x, dims[0], size)
    n = x.shape[1]
    wide = x.movedim(0, 1).reshape(n, size * x.shape[2], *x.shape[3:])
    flat = [
        None if v is None else batched_front(v, dims[i], size).reshape(-1) for i, v in ((3, mean), (4, var))
    ]
    out, saved_mean, saved_invstd = _call(op, (wide, None, None, *flat, training, momentum, eps))
    if training:
        for stat, moved, i in ((mean, flat[0], 3), (var, flat[1], 4)):
            if stat is not None:
                stat.movedim(dims[i], 0).copy_(moved.reshape(size, -1))
    out = out.reshape(n, size, -1, *out.shape[2:]).movedim(1, 0)
    if weight is not None:
        out = out * _channels(weight, dims[1], size, out.ndim)
    if bias is not None:
        out = out + _channels(bias, dims[2], size, out.ndim)
    return (out, saved_mean.reshape(size, -1), saved_invstd.reshape(size, -1)), 0


@rule("native_batch_norm_backward")
def batch_norm_backward(op, values, dims, size):
    """As forward: examples are more channels."""
    grad, x, weight, mean, invstd, training, eps, mask = values
    grad, x = batched_front(grad, dims[0], size), batched_front(x, dims[1], size)
    n = x.shape[1]

    def wide(t):
        return t.movedim(0, 1).reshape(n, size * t.shape[2], *t.shape[3:])

    flat = [batched_front(v, dims[i], size).reshape(-1) for i, v in ((3, mean), (4, invstd))]
    w = None if weight is None else batched_front(weight, dims[2], size).reshape(-1)
    found = _call(op, (wide(grad), wide(x), w, *flat, training, eps, mask))
    gx, gw, gb = found
    if gx is not None:
        gx = gx.reshape(n, size, -1, *gx.shape[2:]).movedim(1, 0)
    return (gx, *(None if g is None else g.reshape(size, -1) for g in (gw, gb))), 0


@rule("native_group_norm")
def group_norm(op, values, dims, size):
    """Examples are more samples; parameters that differ come afterwards."""
    x, weight, bias, count, channels, length, groups, eps = values
    x = batched_front(x, dims[0], size)
    shape = x.shape
    flat = x.reshape(size * count, channels, length)
    same = dims[1] is None and dims[2] is None
    out, mean, rstd = _call(
        op, (flat, *((weight, bias) if same else (None, None)), size * count, channels, length, groups, eps)
    )
    out = out.reshape(size, count, channels, length)
    if not same and weight is not None:
        out = out * batched_front(weight, dims[1], size).reshape(size, 1, channels, 1)
    if not same and bias is not None:
        out = out + batched_front(bias, dims[2], size).reshape(size, 1, channels, 1)
    return (out.reshape(shape), mean.reshape(size, count, groups), rstd.reshape(size, count, groups)), 0


@rule("native_group_norm_backward")
def group_norm_backward(op, values, dims, size):
    """The input's gradient for all examples at once; the parameters' as sums over each example's own samples."""
    grad, x, mean, rstd, weight, count, channels, length, groups, eps, mask = values
    grad, x = batched_front(grad, dims[0], size), batched_front(x, dims[1], size)
    shape = x.shape
    mean, rstd = batched_front(mean, dims[2], size), batched_front(rstd, dims[3], size)
    grad, x = (t.reshape(size, count, channels, length) for t in (grad, x))
    scaled = grad
    if weight is not None:
        scaled = grad * batched_front(weight, dims[4], size).reshape(size, 1, channels, 1)
    out = [None, None, None]
    if mask & 1:
        rows = (t.reshape(size * count, channels, length) for t in (scaled, x))
        flat = (t.reshape(size * count, groups) for t in (mean, rstd))
        out[0] = _call(op, (*rows, *flat, None, size * count, channels, length, groups, eps, 1))[0].reshape(
            shape
        )
    if mask & 2:
        per = (size, count, groups, 1, 1)
        normal = (x.reshape(size, count, groups, -1, length) - mean.reshape(per)) * rstd.reshape(per)
        out[1] = (grad * normal.reshape(grad.shape)).sum((1, 3)).to(x.dtype)
    if mask & 4:
        out[2] = grad.sum((1, 3))
    return tuple(out), 0


# ---- losses of class indices ---------------------------------------------------------------------------------------


def _targets(target, ignored, weight, classes):
    """(targets that can be looked up, the weight of each: none where ignored)."""
    counted = target != ignored
    safe = target.where(counted, flambeau.zeros_like(target)).long()
    return safe, counted


def _share(safe, counted, weight, dw, size, dtype):
    if weight is None:
        return counted.to(dtype)
    if dw is None:
        picked = weight[safe]
    else:
        rows = front(weight, dw)
        picked = rows.gather(1, safe.reshape(size, -1)).reshape(safe.shape)
    return picked.to(dtype) * counted


def _picked(rows, safe):
    """Of (B, N, C) the entries (B, N) at the targets."""
    return rows.gather(2, safe.unsqueeze(2)).squeeze(2)


def _with_rows(value, dim, size, lone):
    value = batched_front(value, dim, size)
    return value.unsqueeze(1) if lone else value


def _reduced(losses, share, reduction, lone):
    if reduction == 0:
        return losses.squeeze(1) if lone else losses
    total = losses.sum(1)
    return total / share.sum(1) if reduction == 1 else total


def _cross_entropy_sums(log_probs, values, dims, size, lone):
    """(loss, total weight) of rows of log-probabilities (B, N, C)."""
    target, weight, reduction, ignored = values[1:5]
    target = _with_rows(target, dims[1], size, lone)
    safe, counted = _targets(target, ignored, weight, log_probs.shape[2])
    share = _share(safe, counted, weight, dims[2], size, log_probs.dtype)
    losses = -_picked(log_probs, safe) * share
    losses = losses.masked_fill(~counted, 0)
    return _reduced(losses, share, reduction, lone), share.sum(1)


@rule("_cross_entropy")
def cross_entropy(op, values, dims, size):
    """The composition, for rows (B, N, C)."""
    logits = batched_front(values[0], dims[0], size)
    lone = logits.ndim == 2
    logits = logits.unsqueeze(1) if lone else logits
    sums = logits.logsumexp(2)
    loss, total = _cross_entropy_sums(logits - sums.unsqueeze(2), values, dims, size, lone)
    return (loss, total, sums.squeeze(1) if lone else sums), 0


def _grad_rows(grad, dim, size, reduction, lone):
    grad = batched_front(grad, dim, size)
    if reduction == 0:
        return grad.unsqueeze(1) if lone else grad
    return grad.reshape(size, 1)


@rule("_cross_entropy_backward")
def cross_entropy_backward(op, values, dims, size):
    """(softmax - one-hot) times the gradient of each row."""
    grad, logits, target, weight, sums, reduction, ignored = values
    logits = batched_front(logits, dims[1], size)
    lone = logits.ndim == 2
    logits = logits.unsqueeze(1) if lone else logits
    target = _with_rows(target, dims[2], size, lone)
    safe, counted = _targets(target, ignored, weight, logits.shape[2])
    share = _share(safe, counted, weight, dims[3], size, logits.dtype)
    scale = _grad_rows(grad, dims[0], size, reduction, lone) * share
    if reduction == 1:
        scale = scale / share.sum(1, keepdim=True)
    scale = scale.masked_fill(~counted, 0).unsqueeze(2)
    out = logits.softmax(2) * scale
    out = out.scatter_add(2, safe.unsqueeze(2), -scale)
    return (out.squeeze(1) if lone else out), 0


def _class_rows(value, lone):
    """(B, N, C, ...) as (B, N * ..., C)."""
    if lone:
        return value.unsqueeze(1)
    return value.flatten(3).movedim(2, -1).flatten(1, 2) if value.ndim > 3 else value


@rule("nll_loss_forward")
def nll_loss(op, values, dims, size):
    """The composition, for rows (B, N, C)."""
    log_probs = batched_front(values[0], dims[0], size)
    lone = log_probs.ndim == 2
    shape = log_probs.shape
    rows = _class_rows(log_probs, lone)
    target, weight, reduction, ignored = values[1:5]
    target = batched_front(target, dims[1], size).reshape(size, -1)
    safe, counted = _targets(target, ignored, weight, rows.shape[2])
    share = _share(safe, counted, weight, dims[2], size, rows.dtype)
    losses = (-_picked(rows, safe) * share).masked_fill(~counted, 0)
    total = share.sum(1) if reduction else flambeau.zeros_like(share.sum(1))
    if reduction == 0:
        losses = losses.squeeze(1) if lone else losses.reshape(size, shape[1], *shape[3:])
        return (losses, total), 0
    return (_reduced(losses, share, reduction, lone), total), 0


@rule("nll_loss_backward")
def nll_loss_backward(op, values, dims, size):
    """Minus the gradient of each row at its target."""
    grad, log_probs, target, weight, reduction, ignored = values
    log_probs = batched_front(log_probs, dims[1], size)
    lone = log_probs.ndim == 2
    shape = log_probs.shape
    rows = _class_rows(log_probs, lone)
    target = batched_front(target, dims[2], size).reshape(size, -1)
    safe, counted = _targets(target, ignored, weight, rows.shape[2])
    share = _share(safe, counted, weight, dims[3], size, rows.dtype)
    grad = batched_front(grad, dims[0], size)
    grad = grad.reshape(size, -1) if reduction == 0 else grad.reshape(size, 1)
    scale = grad * share
    if reduction == 1:
        scale = scale / share.sum(1, keepdim=True)
    scale = scale.masked_fill(~counted, 0)
    out = flambeau.zeros_like(rows).scatter(2, safe.unsqueeze(2), -scale.unsqueeze(2))
    if lone:
        return out.squeeze(1), 0
    if len(shape) > 3:
        out = out.reshape(size, shape[1], *shape[3:], shape[2]).movedim(-1, 2)
    return out, 0


# ---- attention -----------------------------------------------------------------------------------------------------


@rule("_scaled_dot_product_flash_attention_for_cpu")
def attention(op, values, dims, size):
    """One more leading dimension."""
    out = [
        batched_front(v, d, size) if isinstance(v, Tensor) else v for v, d in zip(values, dims, strict=True)
    ]
    return _call(op, tuple(out)), 0


@rule("_scaled_dot_product_flash_attention_for_cpu_backward")
def attention_backward(op, values, dims, size):
    """One more leading dimension."""
    return attention(op, values, dims, size)
