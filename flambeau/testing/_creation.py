"""Random tensors for tests."""

from __future__ import annotations

import flambeau


def _default_range(dtype):
    if dtype is flambeau.bool:
        return 0, 2
    if dtype.is_floating_point or dtype.is_complex:
        return -9, 9
    return (-9 if flambeau.iinfo(dtype).min < 0 else 0), 10


def make_tensor(
    *shape,
    dtype,
    device="cpu",
    low=None,
    high=None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format=None,
):
    """A tensor with elements drawn evenly from ``[low, high)``.

    Args:
        shape: sizes, one by one or as one sequence.
        dtype: the dtype.
        device: the device.
        low, high: the range; [-9, 9) by default, [-9, 10) for integers, without negative numbers where there are none.
        requires_grad: whether the result is a leaf that requires a gradient.
        noncontiguous: make it every second element of a larger tensor.
        exclude_zero: replace zeros by the smallest positive number.
        memory_format: the layout; not together with `noncontiguous`.
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if noncontiguous and memory_format is not None:
        raise ValueError(
            f"The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got {noncontiguous=} "
            f"and {memory_format=}"
        )
    inexact = dtype.is_floating_point or dtype.is_complex
    if requires_grad and not inexact:
        raise ValueError(
            f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}"
        )
    if dtype is flambeau.float8_e8m0fnu:
        raise TypeError(
            f"make_tensor: numbers spread evenly make no sense as powers of two, but got {dtype=}"
        )
    default_low, default_high = _default_range(dtype)
    low = default_low if low is None else low
    high = default_high if high is None else high
    if low > high or (low == high and inexact is False):
        raise ValueError(f"make_tensor: low must be below high, but got {low=} and {high=}")
    spread = noncontiguous and len(sizes) > 0
    drawn = (*sizes[:-1], 2 * sizes[-1]) if spread else sizes
    if inexact:
        # float8 has no random numbers of its own.
        held = flambeau.float32 if dtype.is_floating_point and dtype.itemsize == 1 else dtype
        result = flambeau.empty(drawn, dtype=held, device=device)
        (flambeau.view_as_real(result) if dtype.is_complex else result).uniform_(low, high)
        result = result.to(dtype)
    elif dtype is flambeau.bool:
        result = flambeau.randint(0, 2, drawn, dtype=dtype, device=device)
    else:
        result = flambeau.randint(int(low), int(high), drawn, dtype=dtype, device=device)
    if spread:
        result = result[..., 1::2]
    elif memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        result[result == 0] = flambeau.finfo(dtype).tiny if inexact else 1
    return result.requires_grad_() if requires_grad else result
