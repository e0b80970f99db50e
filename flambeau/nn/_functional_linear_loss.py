"""Cross entropy of a linear layer's scores."""

import warnings

import flambeau

from ._functional_linear import linear
from ._functional_loss import _check_reduction, cross_entropy


def _check_shapes(input, linear_weight, linear_bias, label_smoothing):
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}"
        )
    features = linear_weight.size(-1)
    if input.size(-1) != features:
        raise RuntimeError(
            f"expected equal input and linear_weight last dimensions (in_features), got {input.size(-1)} and {features}, "
            "respectively"
        )
    if linear_weight.dim() > 2 and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {features}), got unbatched input with shape {tuple(input.shape)}"
        )
    expected = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != expected:
        raise RuntimeError(f"expected linear_bias shape {expected}, got {tuple(linear_bias.shape)}")
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")


def _whole(input, linear_weight, linear_bias, target, **settings):
    """The loss from the scores of all rows: (N, C, d1, ...) for a weight (C, d1, ..., features)."""
    flat = linear_weight.reshape(-1, linear_weight.size(-1))
    scores = linear(input, flat, None if linear_bias is None else linear_bias.reshape(-1))
    if linear_weight.dim() > 2:
        scores = scores.unflatten(-1, tuple(linear_weight.shape[:-1]))
    return cross_entropy(scores, target, **settings)


def _chunk_rows(options, batch, features, classes):
    """Rows of a chunk."""
    if options.batch_chunk_size is not None:
        return options.batch_chunk_size
    method = options.chunking_method
    ratio = 2 if method in (None, "auto") else int(method.partition(":")[2])
    return max(1, ratio * batch * features // max(1, classes))


def _chunked(input, linear_weight, linear_bias, target, weight, reduction, ignore_index, options):
    """The loss chunk by chunk; backward computes the scores of a chunk again."""
    from ..utils.checkpoint import checkpoint

    classes, features = linear_weight.shape
    each = "none" if reduction == "none" else "sum"

    def part(rows, labels, linear_weight, linear_bias):
        return cross_entropy(
            linear(rows, linear_weight, linear_bias),
            labels,
            weight=weight,
            ignore_index=ignore_index,
            reduction=each,
        )

    size = _chunk_rows(options, input.size(0), features, classes)
    chunks = zip(input.split(size), target.split(size), strict=True)
    parts = [
        checkpoint(
            part, rows, labels, linear_weight, linear_bias, use_reentrant=False, preserve_rng_state=False
        )
        for rows, labels in chunks
    ]
    if reduction == "none":
        return flambeau.cat(parts)
    total = flambeau.stack(parts).sum()
    if reduction == "sum":
        return total
    counted = target != ignore_index
    if weight is None:
        return total / counted.sum()
    return total / weight.index_select(0, target.masked_select(counted)).sum()


def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """``cross_entropy(linear(input, linear_weight, linear_bias), target, ...)``.

    input (N, features) or (features), linear_weight (C, features) or (C, d1, ..., features), target as for `cross_entropy`.

    options: an `nn.LinearCrossEntropyOptions` keeps the scores of all rows from being in memory at once; class indices
    without label smoothing and dimensions d1, ... only, otherwise a warning tells that they are ignored.

    >>> F.linear_cross_entropy(flambeau.ones(1, 2), flambeau.zeros(4, 2), flambeau.tensor([3]))
    tensor(1.3863)
    """
    _check_shapes(input, linear_weight, linear_bias, label_smoothing)
    _check_reduction(reduction)
    if ignore_index is not None and target.is_floating_point():
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    ignored = -100 if ignore_index is None else ignore_index
    out_features = tuple(linear_weight.shape[1:-1])
    if options is not None:
        if label_smoothing == 0 and target.dtype == flambeau.int64 and not out_features:
            batched = input.dim() == 2
            rows = input if batched else input.unsqueeze(0)
            labels = target if target.dim() else target.unsqueeze(0)
            if rows.size(0) and labels.dim() == 1 and labels.size(0) == rows.size(0):
                loss = _chunked(rows, linear_weight, linear_bias, labels, weight, reduction, ignored, options)
                return loss if reduction != "none" else loss.reshape(target.shape)
        else:
            bias_shape = None if linear_bias is None else tuple(linear_bias.shape)
            warnings.warn(
                "linear_cross_entropy: ``options`` ignored; chunks need label_smoothing == 0, target.dtype == int64, "
                f"out_features == (). Got {label_smoothing=}, {target.dtype=}, {out_features=}, "
                f"linear_bias.shape={bias_shape}.",
                stacklevel=2,
            )
    return _whole(
        input,
        linear_weight,
        linear_bias,
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=ignored,
        label_smoothing=label_smoothing,
    )
