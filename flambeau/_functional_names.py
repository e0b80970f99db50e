"""`flambeau.conv2d`, `flambeau.layer_norm`, ...: functions of neural networks under the top-level names that programs know.

Most are `nn.functional`'s own; a few take their arguments in another order.
"""

import flambeau

from ._ops.casts import in_autocast
from ._ops.registry import takes
from .nn import functional as F
from .nn._functional_common import reduced
from .nn._functional_loss import _triplet


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


# ---- losses: `reduction` is 0 (none, and the default), 1 (mean) or 2 (sum) -----------------------------------------


def _reduced(loss, reduction):
    return reduced(loss, {1: "mean", 2: "sum"}.get(reduction, "none"))


@takes(
    "binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight=None, Tensor? pos_weight=None, "
    "int reduction=0)"
)
def binary_cross_entropy_with_logits(input, target, weight=None, pos_weight=None, reduction=0):
    """`nn.functional.binary_cross_entropy_with_logits` with a number as its reduction: 0 (none), 1 (mean) or 2 (sum).

    >>> flambeau.binary_cross_entropy_with_logits(flambeau.zeros(2), flambeau.ones(2), reduction=2)
    tensor(1.3863)
    """
    loss = F.binary_cross_entropy_with_logits(input, target, weight, reduction="none", pos_weight=pos_weight)
    return _reduced(loss, reduction)


@takes("kl_div(Tensor input, Tensor target, int reduction=0, *, bool log_target=False)")
def kl_div(input, target, reduction=0, *, log_target=False):
    """`nn.functional.kl_div` with a number as its reduction: 0 (none), 1 (mean) or 2 (sum).

    >>> flambeau.kl_div(flambeau.zeros(2), flambeau.ones(2))
    tensor([0., 0.])
    """
    return _reduced(F.kl_div(input, target, reduction="none", log_target=log_target), reduction)


@takes("poisson_nll_loss(Tensor input, Tensor target, bool log_input, bool full, float eps, int reduction)")
def poisson_nll_loss(input, target, log_input, full, eps, reduction):
    """`nn.functional.poisson_nll_loss` with a number as its reduction: 0 (none), 1 (mean) or 2 (sum).

    >>> flambeau.poisson_nll_loss(flambeau.zeros(2), flambeau.ones(2), True, False, 1e-8, 2)
    tensor(2.)
    """
    loss = F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction="none")
    return _reduced(loss, reduction)


@takes("hinge_embedding_loss(Tensor input, Tensor target, float margin=1.0, int reduction=0)")
def hinge_embedding_loss(input, target, margin=1.0, reduction=0):
    """`nn.functional.hinge_embedding_loss` with a number as its reduction: 0 (none), 1 (mean) or 2 (sum).

    >>> flambeau.hinge_embedding_loss(flambeau.zeros(2), flambeau.tensor([1, -1]))
    tensor([0., 1.])
    """
    return _reduced(F.hinge_embedding_loss(input, target, margin, reduction="none"), reduction)


@takes("margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, int reduction=0)")
def margin_ranking_loss(input1, input2, target, margin=0.0, reduction=0):
    """`nn.functional.margin_ranking_loss` with a number as its reduction: 0 (none), 1 (mean) or 2 (sum).

    >>> flambeau.margin_ranking_loss(flambeau.zeros(2), flambeau.ones(2), flambeau.tensor([1, -1]))
    tensor([1., 0.])
    """
    return _reduced(F.margin_ranking_loss(input1, input2, target, margin, reduction="none"), reduction)


@takes(
    "cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, int reduction=0)"
)
def cosine_embedding_loss(input1, input2, target, margin=0.0, reduction=0):
    """`nn.functional.cosine_embedding_loss` with a number as its reduction: 0 (none), 1 (mean) or 2 (sum).

    >>> rows = flambeau.ones(2, 3)
    >>> flambeau.cosine_embedding_loss(rows, -rows, flambeau.tensor([1, -1]))
    tensor([2., 0.])
    """
    return _reduced(F.cosine_embedding_loss(input1, input2, target, margin, reduction="none"), reduction)


@takes(
    "triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2.0, "
    "float eps=1e-06, bool swap=False, int reduction=0)"
)
@in_autocast("float32")
def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-06, swap=False, reduction=0):
    """`nn.functional.triplet_margin_loss` with a number as its reduction: 0 (none), 1 (mean) or 2 (sum); any margin.

    >>> flambeau.triplet_margin_loss(flambeau.zeros(1, 2), flambeau.ones(1, 2), flambeau.ones(1, 2))
    tensor([1.])
    """
    return _reduced(
        _triplet(
            anchor, positive, negative, lambda x, y: F.pairwise_distance(x, y, p, eps), margin, swap, "none"
        ),
        reduction,
    )


# ---- others ---------------------------------------------------------------------------------------------------------


def adaptive_max_pool1d(input, output_size):
    """`nn.functional.adaptive_max_pool1d`, with indices."""
    return F.adaptive_max_pool1d(input, output_size, True)


def detach_(input):
    """`Tensor.detach_`."""
    return input.detach_()


def index_put_(input, indices, values, accumulate=False):
    """`Tensor.index_put_`."""
    return input.index_put_(indices, values, accumulate)


def ldexp_(input, other):
    """`Tensor.ldexp_`."""
    return input.ldexp_(other)


def frobenius_norm(input, dim=(), keepdim=False, *, out=None):
    """`linalg.vector_norm` of order 2."""
    return flambeau.linalg.vector_norm(input, 2.0, dim or None, keepdim, out=out)


def nuclear_norm(input, dim=(-2, -1), keepdim=False, *, out=None):
    """`linalg.matrix_norm` of kind "nuc"."""
    return flambeau.linalg.matrix_norm(input, "nuc", dim, keepdim, out=out)


def native_channel_shuffle(input, groups):
    """`nn.functional.channel_shuffle`."""
    return F.channel_shuffle(input, groups)


def max_pool1d_with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """`nn.functional.max_pool1d` and where the maxima are."""
    return F.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True)


def spmm(input, mat2):
    """`mm`, of a sparse matrix as well."""
    return flambeau.mm(input, mat2)


def _removed(name, instead):
    def function(*args, **kwargs):
        raise RuntimeError(
            f"torch.{name}(): this function was deprecated since version 1.9 and is now removed. Use {instead}."
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Removed from PyTorch: use {instead}."
    return function


eig = _removed("eig", "torch.linalg.eig, which returns complex tensors")
lstsq = _removed("lstsq", "torch.linalg.lstsq, which takes its arguments in the other order")
matrix_rank = _removed("matrix_rank", "torch.linalg.matrix_rank")
solve = _removed("solve", "torch.linalg.solve, which takes its arguments in the other order")
symeig = _removed("symeig", "torch.linalg.eigh, which reads the lower triangle by default")
