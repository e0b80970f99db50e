"""Normalisation: each kind one operator forward and one backward."""

import math

import flambeau

from .registry import composite, op, takes
from .second_order import vjp_through


def _mask(needs):
    return needs[0] | needs[1] << 1 | needs[2] << 2


# ---- layer_norm ---------------------------------------------------------------------------------------------------------


def _layer_norm_gradients(grad_output, input, weight, lead, eps):
    """The gradients with respect to input, weight and bias, with differentiable operators."""
    over = tuple(range(lead, input.dim()))
    centred = input - input.mean(over, True)
    rstd = flambeau.rsqrt((centred * centred).mean(over, True) + eps)
    normal = centred * rstd
    scaled = grad_output if weight is None else grad_output * weight
    grad_input = rstd * (scaled - scaled.mean(over, True) - normal * (scaled * normal).mean(over, True))
    if lead == 0:
        return grad_input, grad_output * normal, grad_output
    rows = tuple(range(lead))
    return grad_input, (grad_output * normal).sum(rows), grad_output.sum(rows)


def _layer_norm_second(grads, grad_output, input, weight, normalized_shape, eps, needs):
    lead = input.dim() - len(normalized_shape)
    return vjp_through(
        lambda g, x, w: _layer_norm_gradients(g, x, w, lead, eps), (grad_output, input, weight), grads, needs
    )


native_layer_norm_backward = op(
    "native_layer_norm_backward(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor mean, Tensor rstd, "
    "Tensor? weight, float eps, int output_mask) -> (Tensor grad_input, Tensor grad_weight, Tensor grad_bias)",
    "Gradients of `native_layer_norm`; bits of `output_mask` say which are wanted, the others are None.",
    public=False,
    method=False,
    vjp={"grad_output, input, weight": _layer_norm_second, "mean": None, "rstd": None},
)


def _layer_norm_vjp(grad, input, normalized_shape, mean, rstd, weight, eps, needs):
    if grad is None:
        return None, None, None
    return tuple(
        native_layer_norm_backward(grad, input, normalized_shape, mean, rstd, weight, eps, _mask(needs))
    )


_layer_norm = op(
    "native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps)"
    " -> (Tensor output, Tensor mean, Tensor rstd)",
    "`layer_norm` with the mean and the inverse deviation of each row, in the precision that was computed with.",
    public=False,
    method=False,
    vjp={"input, weight, bias": _layer_norm_vjp},
)


def _statistics_dtype(input, *parameters):
    """That of the saved statistics: of narrow input with parameters in float32, float32, otherwise the input's."""
    return next((p.dtype for p in parameters if p is not None), input.dtype)


@composite
@takes(
    "native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps)",
)
def native_layer_norm(input, normalized_shape, weight, bias, eps):
    """`layer_norm` with the mean and the inverse deviation of each row: (output, mean, deviation).

    input: (\\*, \\*normalized_shape); weight, bias: normalized_shape, or None. The last two have no gradient.
    """
    output, *saved = _layer_norm(input, normalized_shape, weight, bias, eps)
    dtype = _statistics_dtype(input, weight, bias)
    return output, *(s.detach().to(dtype) for s in saved)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05):
    """Normalise over the last dimensions."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
    return _layer_norm(input, shape, weight, bias, eps)[0]


# ---- rms_norm -----------------------------------------------------------------------------------------------------------


def _rms_norm_gradients(grad_output, input, weight, lead, eps):
    over = tuple(range(lead, input.dim()))
    rstd = flambeau.rsqrt((input * input).mean(over, True) + eps)
    normal = input * rstd
    scaled = grad_output if weight is None else grad_output * weight
    grad_input = rstd * (scaled - normal * (scaled * normal).mean(over, True))
    grad_weight = grad_output * normal
    return grad_input, grad_weight.sum(tuple(range(lead))) if lead else grad_weight


_rms_norm_backward = op(
    "_rms_norm_backward(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor rstd, Tensor? weight, float eps, "
    "int output_mask) -> (Tensor grad_input, Tensor grad_weight)",
    "Gradients of `_rms_norm`; bits of `output_mask` say which are wanted, the others are None.",
    public=False,
    method=False,
    vjp={
        "grad_output, input, weight": lambda grads, grad_output, input, weight, normalized_shape, eps, needs: (
            vjp_through(
                lambda g, x, w: _rms_norm_gradients(g, x, w, input.dim() - len(normalized_shape), eps),
                (grad_output, input, weight),
                grads,
                needs,
            )
        ),
        "rstd": None,
    },
)
_rms_norm = op(
    "_rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float eps) -> (Tensor output, Tensor rstd)",
    "`rms_norm` with the inverse root of each row's mean square.",
    public=False,
    method=False,
    vjp={
        "input, weight": lambda grad, input, normalized_shape, rstd, weight, eps, needs: (
            (None, None)
            if grad is None
            else tuple(
                _rms_norm_backward(grad, input, normalized_shape, rstd, weight, eps, needs[0] | needs[1] << 1)
            )
        ),
    },
)


def rms_norm(input, normalized_shape, weight, eps):
    """Divide by the root of the mean square over the last dimensions."""
    return _rms_norm(input, normalized_shape, weight, eps)[0]


# ---- batch_norm ---------------------------------------------------------------------------------------------------------


def _batch_norm_gradients(grad_output, input, weight, mean, invstd, training, eps):
    over = (0, *range(2, input.dim()))
    channelwise = (1, -1, *(1,) * (input.dim() - 2))
    if training:
        centred = input - input.mean(over, True)
        rstd = flambeau.rsqrt((centred * centred).mean(over, True) + eps)
    else:
        centred, rstd = input - mean.view(channelwise), invstd.view(channelwise)
    normal = centred * rstd
    scaled = grad_output if weight is None else grad_output * weight.view(channelwise)
    grad_weight, grad_bias = (grad_output * normal).sum(over), grad_output.sum(over)
    if training:
        scaled = scaled - scaled.mean(over, True) - normal * (scaled * normal).mean(over, True)
    return scaled * rstd, grad_weight, grad_bias


def _batch_norm_second(grads, grad_output, input, weight, mean, invstd, training, eps, needs):
    return vjp_through(
        lambda g, x, w: _batch_norm_gradients(g, x, w, mean.detach(), invstd.detach(), training, eps),
        (grad_output, input, weight),
        grads,
        needs,
    )


native_batch_norm_backward = op(
    "native_batch_norm_backward(Tensor grad_output, Tensor input, Tensor? weight, Tensor mean, Tensor invstd, "
    "bool training, float eps, int output_mask) -> (Tensor grad_input, Tensor grad_weight, Tensor grad_bias)",
    "Gradients of `_batch_norm`; bits of `output_mask` say which are wanted, the others are None.",
    public=False,
    method=False,
    vjp={"grad_output, input, weight": _batch_norm_second, "mean": None, "invstd": None},
)


def _batch_norm_vjp(grad, input, weight, save_mean, save_invstd, training, eps, needs):
    if grad is None:
        return None, None, None
    return tuple(
        native_batch_norm_backward(grad, input, weight, save_mean, save_invstd, training, eps, _mask(needs))
    )


_batch_norm = op(
    "_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
    "bool training, float momentum, float eps) -> (Tensor output, Tensor save_mean, Tensor save_invstd)",
    "Batch normalisation of (N, C, *) per channel, with the mean and inverse deviation that were used.",
    public=False,
    method=False,
    vjp={"input, weight, bias": _batch_norm_vjp, "running_mean": None, "running_var": None},
)


@composite
@takes(
    "native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, "
    "Tensor? running_var, bool training, float momentum, float eps)",
)
def native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    """Batch normalisation of (N, C, \\*) per channel: (output, mean, inverse deviation).

    In training with the mean and variance of the batch, which also move `running_mean` and `running_var` in place by the
    share `momentum`; otherwise with the running values, and the last two results are empty. They have no gradient.
    """
    output, *saved = _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)
    dtype = _statistics_dtype(input, weight, bias, running_mean, running_var)
    if training:
        return output, *(s.detach().to(dtype) for s in saved)
    return output, output.new_empty(0, dtype=dtype), output.new_empty(0, dtype=dtype)


@composite
def _native_batch_norm_legit(input, weight, bias, *options):
    """`native_batch_norm`, or without `running_mean` and `running_var` the same on the batch's own statistics.

    >>> output, mean, invstd = flambeau._native_batch_norm_legit(flambeau.ones(2, 3), None, None, True, 0.1, 1e-5)
    >>> mean
    tensor([1., 1., 1.])
    """
    if len(options) == 3:
        options = (None, None, *options)
    return native_batch_norm(input, weight, bias, *options)


def batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    """Normalise every channel; in training this also moves the running statistics."""
    if input.dim() < 2 and input.numel() == 0:
        return input.clone()
    return _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


# ---- weight normalisation -----------------------------------------------------------------------------------------------


@composite
@takes("norm_except_dim(Tensor v, int pow=2, int dim=0)")
def norm_except_dim(v, pow=2, dim=0):
    """The norm of order `pow` over all dimensions but `dim`, which is kept, as the others are with size 1.

    dim: -1 stands for none: the norm of the whole tensor, without dimensions. Default: 0.

    >>> flambeau.norm_except_dim(flambeau.tensor([[3.0, 4.0], [6.0, 8.0]]))
    tensor([[ 5.],
            [10.]])
    """
    if dim == -1:
        return v.norm(pow)
    if not 0 <= dim < v.dim():
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-v.dim()}, {v.dim() - 1}], but got {dim})"
        )
    others = [d for d in range(v.dim()) if d != dim]
    return v.norm(pow, others, keepdim=True) if others else v.abs()


@composite
@takes("_weight_norm(Tensor v, Tensor g, int dim=0)")
def _weight_norm(v, g, dim=0):
    """``v`` with the norm `g` along everything but `dim` (-1: altogether): ``v * g / norm_except_dim(v, 2, dim)``.

    Salimans and Kingma, 2016. `g` has the shape of that norm.
    """
    norm = norm_except_dim(v, 2, dim)
    if g.numel() != norm.numel():
        raise RuntimeError(
            f"_weight_norm: g must have {norm.numel()} elements, one for each index of dimension {dim} of v "
            f"{tuple(v.shape)}, but has shape {tuple(g.shape)}"
        )
    return v * (g / norm)


# ---- group_norm ---------------------------------------------------------------------------------------------------------


def _group_norm_gradients(grad_output, input, weight, groups, eps):
    """The gradients with respect to input (N, C, L), weight and bias, with differentiable operators."""
    n, channels, length = input.shape
    grouped = input.reshape(n, groups, channels // groups * length)
    centred = grouped - grouped.mean(2, True)
    rstd = flambeau.rsqrt((centred * centred).mean(2, True) + eps)
    normal = centred * rstd
    scaled = grad_output if weight is None else grad_output * weight.view(-1, 1)
    scaled = scaled.reshape(grouped.shape)
    grad_input = rstd * (scaled - scaled.mean(2, True) - normal * (scaled * normal).mean(2, True))
    grad_weight = (grad_output * normal.view(n, channels, length)).sum((0, 2))
    return grad_input.view(n, channels, length), grad_weight, grad_output.sum((0, 2))


def _group_norm_second(grads, grad_output, input, weight, N, C, HxW, group, eps, needs):
    shape = (N, C, HxW)
    if grads[0] is not None:
        grads = (grads[0].reshape(shape), *grads[1:])
    found = vjp_through(
        lambda g, x, w: _group_norm_gradients(g, x, w, group, eps),
        (grad_output.reshape(shape), input.reshape(shape), weight),
        grads,
        needs,
    )
    return *(None if f is None else f.reshape(input.shape) for f in found[:2]), found[2]


_group_norm_backward = op(
    "native_group_norm_backward(Tensor grad_output, Tensor input, Tensor mean, Tensor rstd, Tensor? weight, int N, int C, "
    "int HxW, int group, float eps, int output_mask) -> (Tensor grad_input, Tensor grad_weight, Tensor grad_bias)",
    "Gradients of `native_group_norm`; bits of `output_mask` say which are wanted, the others are None.",
    public=False,
    method=False,
    vjp={"grad_output, input, weight": _group_norm_second, "mean": None, "rstd": None},
)


def _group_norm_vjp(grads, input, weight, mean, rstd, N, C, HxW, group, eps, needs):
    grad, grad_mean, grad_rstd = grads
    found = [None, None, None]
    if grad is not None:
        found = list(
            _group_norm_backward(grad, input, mean, rstd, weight, N, C, HxW, group, eps, _mask(needs))
        )
    if needs[0] and not (grad_mean is None and grad_rstd is None):
        # d mean / dx = 1 / n,  d rstd / dx = -rstd^3 (x - mean) / n
        rows = input.reshape(N, group, (C // group) * HxW)
        through = rows.new_zeros(())
        if grad_mean is not None:
            through = through + grad_mean.unsqueeze(-1)
        if grad_rstd is not None:
            through = through - (grad_rstd * rstd**3).unsqueeze(-1) * (rows - mean.unsqueeze(-1))
        through = (through / max(rows.size(-1), 1)).expand_as(rows).reshape(input.shape)
        found[0] = through if found[0] is None else found[0] + through
    return tuple(found)


_group_norm = op(
    "native_group_norm(Tensor input, Tensor? weight, Tensor? bias, int N, int C, int HxW, int group, float eps)"
    " -> (Tensor output, Tensor mean, Tensor rstd)",
    "`group_norm` with the mean and the inverse deviation of each group, in the precision that was computed with.",
    public=False,
    method=False,
    vjp={"input, weight, bias": _group_norm_vjp},
)


@composite
@takes(
    "native_group_norm(Tensor input, Tensor? weight, Tensor? bias, int N, int C, int HxW, int group, "
    "float eps)",
)
def native_group_norm(input, weight, bias, N, C, HxW, group, eps):
    """Normalisation over `group` groups of the C channels of every one of N samples: (output, mean, inverse deviation).

    input: N * C * HxW elements; weight, bias: (C) or None; the last two results: (N, group).
    """
    output, *saved = _group_norm(input, weight, bias, N, C, HxW, group, eps)
    dtype = _statistics_dtype(input, weight, bias)
    return output, *(s.to(dtype) for s in saved)


def group_norm(input, groups, weight, bias, eps):
    """Normalise over each of `groups` groups of channels of every sample of (N, C, *)."""
    n, c = input.shape[:2]
    return _group_norm(input, weight, bias, n, c, math.prod(input.shape[2:]), groups, eps)[0]
