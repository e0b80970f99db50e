"""Batch normalisation in evaluation mode, folded into the layer before it."""

import copy

import flambeau

from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _check_evaluation(layer, bn, names):
    if layer.training or bn.training:
        raise AssertionError(f"Fusion only for eval! Call eval() on {names} first.")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("Fusion needs the running statistics: the batch norm was made without them.")


def _scale_and_shift(bias, like, running_mean, running_var, eps, weight, shift):
    """What the layer's outputs are multiplied by, and the new bias."""
    bias = flambeau.zeros_like(running_mean) if bias is None else bias
    weight = flambeau.ones_like(running_mean) if weight is None else weight
    shift = flambeau.zeros_like(running_mean) if shift is None else shift
    scale = weight * flambeau.rsqrt(running_var + eps)
    return scale.to(like.dtype), ((bias - running_mean) * scale + shift).to(like.dtype)


def _parameters(weight, bias, new_weight, new_bias):
    return (
        Parameter(new_weight, weight.requires_grad),
        Parameter(new_bias, weight.requires_grad if bias is None else bias.requires_grad),
    )


def fuse_conv_bn_eval(conv, bn, transpose=False):
    """A copy of the convolution that does the batch norm's work as well; both in evaluation mode.

    transpose: the convolution is a transposed one.

    >>> conv, bn = nn.Conv2d(1, 2, 3).eval(), nn.BatchNorm2d(2).eval()
    >>> x = flambeau.randn(1, 1, 5, 5)
    >>> flambeau.allclose(nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-6)
    True
    """
    _check_evaluation(conv, bn, "convolution and batch norm")
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """Weight and bias of such a convolution, from the tensors of both layers; None stands for one that is absent."""
    scale, bias = _scale_and_shift(conv_b, conv_w, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    shape = [1, -1] if transpose else [-1, 1]
    weight = conv_w * scale.reshape(shape + [1] * (conv_w.dim() - 2))
    return _parameters(conv_w, conv_b, weight, bias)


def fuse_linear_bn_eval(linear, bn):
    """A copy of the linear layer that does the batch norm's work as well; both in evaluation mode."""
    _check_evaluation(linear, bn, "linear layer and batch norm")
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, but got "
            f"{linear.out_features} and {bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """Weight and bias of such a linear layer, from the tensors of both layers; None stands for one that is absent."""
    scale, bias = _scale_and_shift(linear_b, linear_w, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    return _parameters(linear_w, linear_b, linear_w * scale.unsqueeze(-1), bias)
