"""How a pickled tensor is put together again, and small questions about dtypes and devices.

Files name the functions ``_rebuild_...`` (as ``torch._utils.<name>``): names and arguments are part of the file format.
"""

from __future__ import annotations

import functools
from _thread import _local  # threading.local, at a fraction of that module's time

import flambeau


class _Waiting(_local):
    """What needs the data of storages, while a file is read in which they stand behind the pickle."""

    actions: list | None = None


_waiting = _Waiting()


class data_follow:
    """Storages get their data inside the block, after the unpickling; what needs it is done at the block's end."""

    def __enter__(self):
        self.outer, _waiting.actions = _waiting.actions, []

    def __exit__(self, kind, error, trace):
        actions, _waiting.actions = _waiting.actions, self.outer
        if kind is None:
            for action in actions:
                action()


def when_read(action) -> None:
    """Call `action` once storages have their data, which is now unless `data_follow` says otherwise."""
    if _waiting.actions is None:
        action()
    else:
        _waiting.actions.append(action)


def _element_size(dtype) -> int:
    """How many bytes an element takes."""
    if not isinstance(dtype, flambeau.dtype):
        raise RuntimeError(f"expected torch.dtype, but got {type(dtype)}")
    return dtype.itemsize


def _get_device_index(device, optional: bool = False, allow_cpu: bool = False):
    """The index of a device that is not the CPU; -1 for the CPU if `allow_cpu`, None for no device if `optional`."""
    if isinstance(device, str):
        device = flambeau.device(device)
    if isinstance(device, flambeau.device):
        if device.type == "cpu":
            if not allow_cpu:
                raise ValueError(f"Expected a non cpu device, but got: {device}")
            return -1 if device.index is None else device.index
        device = device.index if device.index is not None else device
    if isinstance(device, int):
        return device
    if device is None and optional:
        return None
    raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device}")


def _from_storage(storage, dtype, storage_offset, size, stride):
    """A tensor over `storage`, typed or not; over no memory at all if the storage was sent to the meta device."""
    untyped = storage.untyped() if hasattr(storage, "untyped") and hasattr(storage, "dtype") else storage
    if untyped.device.type == "meta":
        return flambeau.empty_strided(tuple(size), tuple(stride), dtype=dtype, device="meta")
    return flambeau._C.tensor_from_storage(untyped, dtype, storage_offset, tuple(size), tuple(stride))


def _apply_metadata(tensor, metadata):
    """The conjugate or the negative of what the file holds: a view in PyTorch, a copy here."""
    for name, function in (("conj", flambeau.conj), ("neg", flambeau.neg)):
        if metadata and metadata.get(name):
            tensor = _copy_when_read(function, tensor)
    return tensor


def _copy_when_read(function, tensor):
    if _waiting.actions is None or tensor.is_meta:
        return function(tensor)
    result = flambeau.empty_like(tensor)

    def fill():
        with flambeau.no_grad():  # it may have been told to require gradients meanwhile
            result.copy_(function(tensor))

    when_read(fill)
    return result


def _finish(tensor, requires_grad, backward_hooks, metadata=None):
    tensor = _apply_metadata(tensor, metadata)
    if requires_grad:
        tensor.requires_grad_(True)
    if backward_hooks:
        tensor._backward_hooks = backward_hooks
    return tensor


def _rebuild_tensor(storage, storage_offset, size, stride):
    return _from_storage(storage, storage.dtype, storage_offset, size, stride)


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    tensor = _rebuild_tensor(storage, storage_offset, size, stride)
    return _finish(tensor, requires_grad, backward_hooks, metadata)


def _rebuild_tensor_v3(
    storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None
):
    tensor = _from_storage(storage, dtype, storage_offset, size, stride)
    return _finish(tensor, requires_grad, backward_hooks, metadata)


def _rebuild_sparse_tensor(layout, data):
    """A sparse tensor from its parts; a file may hold any indices, so they are checked."""
    from ._ops.sparse import construct

    if layout is flambeau.sparse_coo:
        indices, values, size, *rest = data
        coalesced = bool(rest and rest[0])
        make = functools.partial(construct.sparse_coo_tensor, indices, values, size, is_coalesced=coalesced)
    else:
        make = functools.partial(construct.sparse_compressed_tensor, *data, layout=layout)
    if _waiting.actions is None:
        return make(check_invariants=True)
    when_read(functools.partial(make, check_invariants=True))
    return make(check_invariants=False)


def _rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad):
    tensor = flambeau.empty_strided(tuple(size), tuple(stride), dtype=dtype, device="meta")
    return _finish(tensor, requires_grad, None)


def _rebuild_parameter(data, requires_grad, backward_hooks):
    parameter = flambeau.nn.Parameter(data, requires_grad)
    if backward_hooks:
        parameter._backward_hooks = backward_hooks
    return parameter


def _rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    return _set_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _rebuild_from_type_v2(function, new_type, args, state):
    """Rebuild with `function`, then restore the subclass and what else the tensor carried."""
    tensor = function(*args)
    if not isinstance(tensor, flambeau.Tensor):
        raise RuntimeError(
            f"_rebuild_from_type_v2: expected a tensor to be rebuilt, got {type(tensor).__name__}"
        )
    if type(tensor) is not new_type:
        tensor = tensor.as_subclass(new_type)
    if getattr(new_type, "__setstate__", None) is not getattr(flambeau.Tensor, "__setstate__", None):
        tensor.__setstate__(state)
        return tensor
    return _set_state(tensor, state)


def _rebuild_with_attributes(function, args, attributes):
    """Rebuild a plain tensor that carried attributes."""
    return _set_state(function(*args), attributes)


def _set_state(obj, state):
    """Restore instance attributes, from a dictionary or a pair of one for ``__dict__`` and one for slots."""
    if isinstance(state, tuple):
        if len(state) != 2:
            raise RuntimeError(f"Invalid serialized state: {state}")
        attributes, slots = state
    else:
        attributes, slots = state, None
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        setattr(obj, name, value)
    return obj
