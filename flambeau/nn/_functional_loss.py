"""Losses. All take `reduction`: 'mean' (default), 'sum' or 'none' (a loss per element).

`size_average` and `reduce` are the older form of `reduction`.
"""

import math
import warnings

import flambeau

from .._ops import loss as _native
from .._ops.casts import in_autocast
from .._ops.outputs import _class_name
from .._ops.truth import all_true, any_true
from ._functional_activation import log_softmax, logsigmoid
from ._functional_common import is_tensor, legacy_reduction, reduced
from ._functional_distance import pairwise_distance


def _check_reduction(reduction):
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def _same_size(input, target):
    """Broadcast the two, with PyTorch's warning when their sizes differ."""
    if target.size() == input.size():
        return input, target
    warnings.warn(
        f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will likely "
        "lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        stacklevel=3,
    )
    return flambeau.broadcast_tensors(input, target)


def _weighted(loss, weight, reduction):
    """The weighted mean divides by the sum of the weights."""
    if weight is None:
        return reduced(loss, reduction)
    if weight.size() != loss.size():
        raise ValueError("Weights and input must have the same size.")
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


def _of_difference(input, target, kind, width, reduction):
    """The fused losses take one dtype."""
    dtype = flambeau.result_type(input, target)
    return _native.difference_loss(input.to(dtype), target.to(dtype), kind, width, _REDUCTIONS[reduction])


# --- regression ----------------------------------------------------------------------------------------------------


@in_autocast("float32")
def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """``(input - target) ** 2``.

    >>> F.mse_loss(flambeau.zeros(2), flambeau.ones(2))
    tensor(1.)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    input, target = _same_size(input, target)
    if weight is None:
        return _of_difference(input, target, _native.SQUARED, 0.0, reduction)
    return _weighted(_of_difference(input, target, _native.SQUARED, 0.0, "none"), weight, reduction)


@in_autocast("float32")
def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """``|input - target|``."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    input, target = _same_size(input, target)
    if weight is None and flambeau.result_type(input, target).is_floating_point:
        return _of_difference(input, target, _native.ABSOLUTE, 0.0, reduction)
    return _weighted((input - target).abs(), weight, reduction)


@in_autocast("float32")
def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """Quadratic within `beta` of the target, ``|input - target| - beta / 2`` beyond."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    input, target = _same_size(input, target)
    kind = _native.SMOOTH_ABSOLUTE if beta != 0 else _native.ABSOLUTE
    return _of_difference(input, target, kind, beta, reduction)


@in_autocast("float32")
def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """Quadratic within `delta` of the target, ``delta * (|input - target| - delta / 2)`` beyond."""
    _check_reduction(reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    input, target = _same_size(input, target)
    if weight is None:
        return _of_difference(input, target, _native.HUBER, delta, reduction)
    if weight.size() != input.size():
        raise ValueError("Weights and input must have the same size.")
    return reduced(_of_difference(input, target, _native.HUBER, delta, "none") * weight, reduction)


@in_autocast("float32")
def poisson_nll_loss(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"
):
    """Negative log likelihood of Poisson counts; `full` adds Stirling's approximation of ``log(target!)``."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """Negative log likelihood of normal values with mean `input` and variance `var` (at least `eps`)."""
    if not is_tensor(var):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * flambeau.ones_like(input)
    elif var.is_floating_point() and any_true(var < 0):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)  # one variance per sample
        elif not (input.size()[:-1] == var.size()[:-1] and var.size(-1) == 1) and not (
            input.dim() == var.dim() and all(v in (1, i) for v, i in zip(var.shape, input.shape, strict=True))
        ):
            raise ValueError("var is of incorrect size")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not valid")
    with flambeau.no_grad():
        floor = (eps - var).clamp(min=0)
    var = var + floor  # the gradient passes as if the variance were not limited
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)


# --- classification ------------------------------------------------------------------------------------------------


_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def _nll(log_probs, target, weight, ignore_index, reduction):
    return _native.nll_loss_forward(log_probs, target, weight, _REDUCTIONS[reduction], ignore_index)


def _check_classes(input, target):
    """Shapes (C), (N, C) or (N, C, d1, ...) and the same without C."""
    if input.dim() == 0:
        raise ValueError("Expected input to have at least 1 dimension, but got a scalar")
    if input.dim() == 1:
        if target.numel() != 1 or target.dim() > 1:
            raise ValueError(
                f"For 1D input, 1D target must have size 1, but got target size: {target.numel()}"
            )
        return
    if target.dim() == 0 or input.size(0) != target.size(0):
        got = target.size(0) if target.dim() else 0
        raise ValueError(f"Expected input batch_size ({input.size(0)}) to match target batch_size ({got}).")
    if input.dim() == 2 and target.dim() != 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if target.shape[1:] != input.shape[2:]:
        raise RuntimeError(
            f"Expected target size {[input.size(0), *input.shape[2:]]}, got {list(target.shape)}"
        )


@in_autocast("float32")
def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """Minus the log probability of the target class.

    Shapes: input (C), (N, C) or (N, C, d1, ...) of log probabilities; target without C, class indices. `weight` (C)
    weighs the classes; targets equal to `ignore_index` count nothing.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    _check_classes(input, target)
    return _nll(input, target, weight, ignore_index, reduction)[0]


@in_autocast("float32")
def cross_entropy(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """Cross entropy between logits and targets.

    Shapes: input (C), (N, C) or (N, C, d1, ...); target either class indices, without C, or probabilities of the
    input's shape.

    Args:
        weight: a weight per class (C).
        ignore_index: class indices that count nothing. Default: -100.
        label_smoothing: share of the target that is spread evenly over all classes. Default: 0.

    >>> F.cross_entropy(flambeau.zeros(1, 2), flambeau.tensor([1]))
    tensor(0.6931)
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    class_dim = 0 if input.dim() == 1 else 1
    if input.shape == target.shape:
        if not target.is_floating_point():
            raise RuntimeError(
                f"Expected floating point type for target with class probabilities, got {target.dtype}"
            )
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing, class_dim)

    _check_classes(input, target)
    if input.dim() == 2 and label_smoothing == 0.0:
        return _native.cross_entropy_rows(input, target, weight, _REDUCTIONS[reduction], ignore_index)[0]
    log_probs = log_softmax(input, class_dim)
    loss, total = _nll(log_probs, target, weight, ignore_index, reduction)
    if label_smoothing == 0.0:
        return loss
    spread = -(
        log_probs if weight is None else log_probs * weight.view(-1, *(1,) * (target.dim() - class_dim))
    )
    spread = spread.sum(class_dim).masked_fill(target == ignore_index, 0)
    if reduction == "mean":
        spread = (spread.sum() / total).to(loss.dtype)  # the total of narrow weights is a float32
    elif reduction == "sum":
        spread = spread.sum()
    return (1 - label_smoothing) * loss + label_smoothing / input.size(class_dim) * spread


def _soft_cross_entropy(input, target, weight, reduction, label_smoothing, class_dim):
    classes = input.size(class_dim)
    if weight is not None and (weight.dim() != 1 or weight.numel() != classes):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or no classes but got "
            f"weight tensor of shape: {list(weight.shape)}"
        )
    log_probs = log_softmax(input, class_dim)
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    product = log_probs * target
    if weight is not None:
        product = product * weight.reshape(-1, *(1,) * (input.dim() - class_dim - 1))
    if reduction == "none":
        return -product.sum(class_dim)
    return -product.sum() if reduction == "sum" else -product.sum() / (input.numel() // classes)


@in_autocast("float32")
def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """Cross entropy of probabilities `input` with targets between 0 and 1; logarithms are limited to -100."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    if target.dtype != input.dtype:
        raise RuntimeError(f"Found dtype {_class_name(target.dtype)} but expected {_class_name(input.dtype)}")
    for name, values in (("input", input.detach()), ("target", target.detach())):
        if not values.is_meta and not all_true(values.clamp(0, 1) == values):
            raise RuntimeError(f"all elements of {name} should be between 0 and 1")
    loss = _native.binary_cross_entropy(input, target)
    return reduced(loss if weight is None else loss * weight.to(input.dtype), reduction)


@in_autocast("float32")
def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """:func:`binary_cross_entropy` of ``sigmoid(input)``, computed without overflow.

    `pos_weight` weighs the positive targets of each class (broadcast against `target`).
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    log_sigmoid = logsigmoid(input)
    if pos_weight is None:
        loss = (1 - target) * input - log_sigmoid
    else:
        loss = (1 - target) * input - ((pos_weight - 1) * target + 1) * log_sigmoid
    return reduced(loss if weight is None else loss * weight, reduction)


@in_autocast("float32")
def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """``target * (log(target) - input)`` with log probabilities `input`; also ``reduction='batchmean'``."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    loss = target.exp() * (target - input) if log_target else flambeau.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return loss.sum() / input.size(0) if input.dim() else loss.sum()
    return reduced(loss, reduction)


# --- margins -------------------------------------------------------------------------------------------------------


@in_autocast("float32")
def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """`input` where the target is 1, ``max(0, margin - input)`` where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    zero = flambeau.zeros_like(input)
    positive = flambeau.where(target != -1, input, zero)
    negative = flambeau.where(target != 1, (margin - input).clamp_min(0), zero)
    return reduced(positive + negative, reduction)


@in_autocast("float32")
def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """``max(0, -target * (input1 - input2) + margin)``."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


@in_autocast("float32")
def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """``1 - cos(input1, input2)`` where the target is 1, ``max(0, cos - margin)`` where it is -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    if target.dim() not in (0, 1) or input1.dim() != target.dim() + 1 or input2.dim() != target.dim() + 1:
        shape = "1D target tensor expects 2D" if target.dim() == 1 else "0D target tensor expects 1D"
        if target.dim() > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        raise RuntimeError(
            f"{shape} input tensors, but found inputs with sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    epsilon = 1e-12
    product = (input1 * input2).sum(-1)
    square1 = (input1 * input1).sum(-1) + epsilon
    square2 = (input2 * input2).sum(-1) + epsilon
    cosine = product / (square1 * square2).sqrt()
    zero = flambeau.zeros_like(cosine)
    loss = flambeau.where(target == 1, 1 - cosine, zero) + flambeau.where(
        target == -1, (cosine - margin).clamp_min(0), zero
    )
    return reduced(loss, reduction)


@in_autocast("float32")
def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """``log(1 + exp(-target * input))`` with targets 1 and -1."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    return reduced(flambeau.log1p(flambeau.exp(input * -target)), reduction)


def _check_rows(input):
    if input.dim() > 2 or (input.dim() and input.size(-1) == 0):
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            + str(list(input.shape))
        )


@in_autocast("float32")
def multi_margin_loss(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Mean over the other classes of ``max(0, margin - input[target] + input) ** p``, p 1 or 2."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    _check_rows(input)
    rows = input.reshape(-1, input.size(-1)) if input.dim() else input.reshape(1, 1)
    flat_target = target.reshape(-1)
    if target.dim() > 1 or flat_target.numel() != rows.size(0):
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch "
            f"size). Expected target size [{rows.size(0)}], but got {list(target.shape)}. Input has shape "
            f"{list(input.shape)}."
        )
    if weight is not None and weight.numel() != rows.size(1):
        raise RuntimeError(f"inconsistent weight size, expected {rows.size(1)} but got {list(weight.shape)}")
    if target.dtype != flambeau.int64:
        raise RuntimeError(f"expected scalar type Long but found {target.type().rpartition('.')[2][:-6]}")
    if any_true((flat_target < 0) | (flat_target >= rows.size(1))):
        raise RuntimeError("target out of range")
    index = flat_target.unsqueeze(1)
    loss = (margin - rows.gather(1, index) + rows).clamp_min(0)
    if p == 2:
        loss = loss * loss
    if weight is not None:
        loss = loss * weight.index_select(0, flat_target).unsqueeze(1)
    own_class = flambeau.zeros_like(rows, dtype=flambeau.bool).scatter(1, index, True)
    loss = loss.masked_fill(own_class, 0).sum(1) / rows.size(1)
    return reduced(loss.reshape(target.shape), reduction)


@in_autocast("float32")
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """Hinge loss between every target class and every other class.

    `target` has the input's shape and lists class indices; the first negative entry ends a row's list.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    _check_reduction(reduction)
    _check_rows(input)
    if target.shape != input.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    single = input.dim() < 2
    rows = input.reshape(1, -1) if single else input
    targets = target.reshape(1, -1) if single else target
    classes = rows.size(1)
    if any_true((targets < -1) | (targets >= classes)):
        raise RuntimeError("argument #2 'target' is out of range")
    listed = (targets < 0).cumsum(1) == 0  # entries before the end of the list
    index = targets.clamp(min=0)
    is_target = flambeau.zeros_like(rows).scatter_add(1, index, listed.to(rows.dtype)) > 0
    margins = (1 - rows.gather(1, index).unsqueeze(2) + rows.unsqueeze(1)).clamp_min(0)  # (N, listed, class)
    counted = listed.unsqueeze(2) & ~is_target.unsqueeze(1)
    loss = margins.masked_fill(~counted, 0).sum((1, 2)) / classes
    return reduced(loss.squeeze(0) if single else loss, reduction)


def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """Mean over the classes of the binary cross entropy with logits."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(-1) / input.size(-1), reduction)


@in_autocast("float32")
def triplet_margin_loss(
    anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None, reduce=None,
    reduction="mean",
):  # fmt: skip
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` with distances of order `p`.

    `swap` uses the distance between positive and negative where it is smaller.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return _triplet(
        anchor, positive, negative, lambda x, y: pairwise_distance(x, y, p, eps), margin, swap, reduction
    )


def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False, reduction="mean"
):
    """:func:`triplet_margin_loss` with a distance of one's own (default: :func:`pairwise_distance`)."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return _triplet(
        anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction
    )


def _triplet(anchor, positive, negative, distance, margin, swap, reduction):
    _check_reduction(reduction)
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.dim()}D, positive {positive.dim()}D, and negative {negative.dim()}D inputs"
        )
    negative_distance = distance(anchor, negative)
    if swap:
        negative_distance = flambeau.minimum(negative_distance, distance(positive, negative))
    return reduced((distance(anchor, positive) - negative_distance + margin).clamp_min(0), reduction)


# --- sequences -------------------------------------------------------------------------------------------------------


@in_autocast("float32")
def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False
):
    """Connectionist temporal classification: how improbable a sequence of labels is where no alignment is known.

    log_probs (T, N, C), as `log_softmax` gives them, or (T, C); targets (N, S), or all labels one after the other; lengths
    of inputs and targets, both tensors or both tuples. 'mean' divides every loss by its target's length.

    >>> log_probs = flambeau.zeros(4, 1, 3).log_softmax(2)
    >>> F.ctc_loss(log_probs, flambeau.tensor([[1, 2]]), (4,), (2,), reduction="none")
    tensor([1.6864])
    """
    _check_reduction(reduction)
    number = ("none", "mean", "sum").index(reduction)
    return flambeau.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, number, zero_infinity)
