"""What the functional modules share: sizes per dimension, reductions of losses, in-place forms."""

import operator
import warnings

import flambeau


def ntuple(value, n):
    """`value` repeated n times if it is a number (or a sequence of one), else as a tuple."""
    if isinstance(value, int):
        return (value,) * n
    if not isinstance(value, (tuple, list)):
        try:
            return (operator.index(value),) * n  # one of NumPy's, or a tensor
        except TypeError:
            pass
    value = tuple(value)
    return value * n if len(value) == 1 else value


def sizes_per_dim(value, n, name, caller):
    """`ntuple` with the error for a wrong length."""
    result = ntuple(value, n)
    if len(result) != n:
        raise RuntimeError(
            f"{caller}: {name} must either be a single int, or a tuple of {n} ints, but got {list(result)}"
        )
    return result


def legacy_reduction(size_average, reduce, reduction):
    """The reduction that the old arguments `size_average` and `reduce` ask for."""
    if size_average is None and reduce is None:
        return reduction
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    result = "none" if not reduce else "mean" if size_average else "sum"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{result}' instead.",
        stacklevel=3,
    )
    return result


def reduced(loss, reduction):
    """Apply `reduction` ('none', 'mean' or 'sum') to a loss per element."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")


def write_back(input, function):
    """The in-place form of `function`: works on a copy, because backward needs the values from before."""
    return input.copy_(function(input.clone()))


def check_probability(p):
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def is_tensor(value):
    return isinstance(value, flambeau.Tensor)
