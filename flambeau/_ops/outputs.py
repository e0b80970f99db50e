"""`out=` of the operators that are written in Python; native ones do the same in csrc/bindings/arguments.cpp."""


def deliver(result, out, name, *, same_dtype=False):
    """Writes `result` into `out`, if there is one, and returns what the caller gets.

    The dtype of `out` must be able to hold the result's kind (be the very same with `same_dtype`); its shape is changed
    to the result's.
    """
    if out is None:
        return result
    check_dtype(result.dtype, out, name, same_dtype=same_dtype)
    if out.shape != result.shape:
        _warn_of_resize(out, result, name)
        out.resize_(result.shape)
    return out.copy_(result)


def check_dtype(dtype, out, name, *, same_dtype=False):
    """Raises RuntimeError unless a result of `dtype` may be written into `out`."""
    import flambeau

    if same_dtype:
        if out.dtype != dtype:
            raise RuntimeError(
                f"{name}(): Expected out tensor to have dtype {dtype}, but got {out.dtype} instead"
            )
    elif not flambeau.can_cast(dtype, out.dtype):
        raise RuntimeError(
            f"{name}(): result type {_class_name(dtype)} can't be cast to the desired output type "
            f"{_class_name(out.dtype)}"
        )


def _class_name(dtype):
    """The name that PyTorch's messages give a dtype: Float, Long, ComplexDouble."""
    from .._tensor.legacy import CLASS_NAMES

    return CLASS_NAMES[str(dtype).removeprefix("torch.")]


def _warn_of_resize(out, result, name):
    if out.numel() == 0:
        return
    import warnings

    warnings.warn(
        f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not match "
        f"the required output shape {list(result.shape)} of {name}(). This behavior is deprecated, and in a future "
        "PyTorch release outputs will not be resized unless they have zero elements. You can explicitly reuse an out "
        "tensor t by resizing it, inplace, to zero elements with t.resize_(0).",
        stacklevel=3,
    )


def deliver_all(results, outs, name):
    """Writes each result into its tensor of `outs`, if there are any; every dtype is checked before anything is written."""
    if outs is None:
        return results
    if len(outs) != len(results):
        raise TypeError(f"{name}(): out= takes a tuple of {len(results)} tensors, got {len(outs)}")
    for result, out in zip(results, outs, strict=True):
        check_dtype(result.dtype, out, name, same_dtype=True)
    return tuple(deliver(result, out, name) for result, out in zip(results, outs, strict=True))
