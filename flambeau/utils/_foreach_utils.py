"""Lists of tensors sorted into groups that one operator can take, as optimizers outside the library do it."""

from __future__ import annotations

import flambeau
from flambeau import Tensor

#: Types whose lists the `_foreach` functions take.
_foreach_supported_types = [Tensor, flambeau.nn.Parameter]


def _get_foreach_kernels_supported_devices() -> list[str]:
    """Kinds of devices on which an operator on a list is one launch: accelerators, as PyTorch names them."""
    return ["cuda", "xpu", "mtia"]


def _get_fused_kernels_supported_devices() -> list[str]:
    """Kinds of devices for which optimizers have a fused step."""
    return ["cpu"]


def _device_has_foreach_support(device) -> bool:
    return device.type in (*_get_foreach_kernels_supported_devices(), "cpu")


def _has_foreach_support(tensors: list[Tensor], device) -> bool:
    """Whether all tensors can go through the `_foreach` functions."""
    return _device_has_foreach_support(device) and all(
        t is None or type(t) in _foreach_supported_types for t in tensors
    )


def _group_tensors_by_device_and_dtype(tensorlistlist, with_indices=False):
    """Lists that run in parallel, cut into groups by the device and dtype of the first list's tensors.

    Returns a dictionary from (device, dtype) to the lists' parts, with the positions these had if `with_indices`.

    >>> from flambeau.utils._foreach_utils import _group_tensors_by_device_and_dtype
    >>> groups = _group_tensors_by_device_and_dtype([[flambeau.ones(1), flambeau.arange(2)], [None, None]], True)
    >>> {dtype: places for (_, dtype), (_, places) in groups.items()}
    {torch.float32: [0], torch.int64: [1]}
    """
    lists = [list(tensors) for tensors in tensorlistlist]
    if any(len(tensors) not in (0, len(lists[0])) for tensors in lists):
        raise RuntimeError("Tensors of lists to be grouped need as many of each list as of the first")
    places: dict[tuple, list[int]] = {}
    for i, tensor in enumerate(lists[0]):
        places.setdefault((tensor.device, tensor.dtype), []).append(i)
    return {
        key: (
            [[tensors[i] for i in group] if tensors else [] for tensors in lists],
            group if with_indices else [],
        )
        for key, group in places.items()
    }
