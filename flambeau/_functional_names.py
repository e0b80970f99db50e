"""`flambeau.conv2d`, `flambeau.layer_norm`, ...: functions of neural networks under the top-level names that programs know.

Most are `nn.functional`'s own; a few take their arguments in another order.
"""

from .nn import functional as F


def __getattr__(name):
    return getattr(F, name)


def batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=False):
    """`nn.functional.batch_norm`, its arguments in the order of the operator."""
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled=False
):
    """`nn.functional.instance_norm`, its arguments in the order of the operator."""
    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """`nn.functional.embedding`, its arguments in the order of the operator; padding_idx=-1 means none."""
    padding = None if padding_idx == -1 else padding_idx
    return F.embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-05, cudnn_enabled=True):
    """`nn.functional.group_norm`."""
    return F.group_norm(input, num_groups, weight, bias, eps)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05, cudnn_enable=True):
    """`nn.functional.layer_norm`."""
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """`nn.functional.rms_norm`."""
    return F.rms_norm(input, normalized_shape, weight, eps)


def adaptive_max_pool1d(input, output_size):
    """`nn.functional.adaptive_max_pool1d`, with indices."""
    return F.adaptive_max_pool1d(input, output_size, True)
