"""Linear maps and embeddings."""

import flambeau

from .._ops import nn as _nn
from .._ops.casts import in_autocast
from .._ops.registry import takes
from .._ops.truth import whole

linear = _nn.linear


@in_autocast("same")
def bilinear(input1, input2, weight, bias=None):
    """``input1 @ weight[k] @ input2 + bias[k]`` for every output feature k.

    Shapes: input1 (\\*, in1), input2 (\\*, in2), weight (out, in1, in2), bias (out); result (\\*, out).
    """
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and {list(input2.shape)}"
        )
    if input1.size(-1) != weight.size(1) or input2.size(-1) != weight.size(2):
        raise RuntimeError(
            f"bilinear(): input sizes {input1.size(-1)} and {input2.size(-1)} do not match weight sizes "
            f"{weight.size(1)} and {weight.size(2)}"
        )
    left = flambeau.einsum("...i,kij->...kj", input1, weight)
    output = flambeau.matmul(left, input2.unsqueeze(-1)).squeeze(-1)
    return output if bias is None else output + bias


@takes("one_hot(Tensor input, int num_classes=-1)")
def one_hot(tensor, num_classes=-1):
    """Integer classes of shape (\\*) as zeros and ones of shape (\\*, num_classes).

    `num_classes` defaults to the largest class plus one.

    >>> F.one_hot(flambeau.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype != flambeau.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return tensor.new_zeros((*tensor.shape, num_classes))
    if int(whole(tensor).min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    largest = int(whole(tensor).max())
    if num_classes == -1:
        num_classes = largest + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif largest >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    result = tensor.new_zeros((*tensor.shape, num_classes))
    return result.scatter_(-1, tensor.unsqueeze(-1), 1)


def _padding_index(padding_idx, rows):
    if padding_idx > 0 and padding_idx >= rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    if padding_idx < 0:
        if padding_idx < -rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx += rows
    return padding_idx


def embedding(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False
):
    """Rows of `weight` (num_embeddings, dim) at the integer indices `input` (\\*); result (\\*, dim).

    Args:
        padding_idx: this row gets no gradient.
        max_norm: rows looked up are first scaled down, in place, to this norm of order `norm_type`.
        scale_grad_by_freq: divide a row's gradient by how often it was looked up.
        sparse: the gradient of `weight` is a sparse COO tensor of the rows looked up.
    """
    padding_idx = -1 if padding_idx is None else _padding_index(padding_idx, weight.size(0))
    if max_norm is not None:
        with flambeau.no_grad():
            flambeau.embedding_renorm_(weight, input, max_norm, norm_type)
    return flambeau.embedding(weight, input, padding_idx, scale_grad_by_freq, sparse)


def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """Sums, means or maxima of embeddings over bags of indices.

    Bags are the rows of a two-dimensional `input`, or the parts of a one-dimensional one that start at `offsets`.
    Result: (number of bags, dim). Empty bags are zero. Entries equal to `padding_idx` are left out; with
    `include_last_offset` the last offset ends the last bag. `max_norm`, `norm_type`, `scale_grad_by_freq` and `sparse` are
    :func:`embedding`'s; `per_sample_weights` multiply the rows of a sum.
    """
    if weight.dtype == flambeau.int64 and input.is_floating_point():
        raise ValueError(
            "Argument order of nn.functional.embedding_bag was changed to `embedding_bag(input, weight)`."
        )
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the "
            f"same shape as the input ({input.shape})"
        )
    if not weight.dim() == 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}'). Please open a feature request on GitHub."
        )
    if mode == "max" and (scale_grad_by_freq or sparse):
        reason = "scaling the gradient by the frequency" if scale_grad_by_freq else "sparse weights"
        raise ValueError(f"max mode does not support {reason}")
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        bags, length = input.shape
        offsets = flambeau.arange(bags + include_last_offset, dtype=input.dtype, device=input.device) * length
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")

    if padding_idx is not None:
        rows = weight.size(0)
        if not -rows <= padding_idx < rows:
            raise RuntimeError(
                f"padding_idx must be within the number of embeddings, {-rows} through {rows - 1}, but got {padding_idx}"
            )
        padding_idx %= rows
    if max_norm is not None:
        with flambeau.no_grad():
            flambeau.embedding_renorm_(weight, input, max_norm, norm_type)
    return flambeau.embedding_bag(
        weight, input, offsets, scale_grad_by_freq, _BAG_MODES[mode], sparse, per_sample_weights, include_last_offset,
        padding_idx,
    )[0]  # fmt: skip


_BAG_MODES = {"sum": 0, "mean": 1, "max": 2}
