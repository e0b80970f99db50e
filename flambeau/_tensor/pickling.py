"""Pickling and copying tensors, in the protocol that PyTorch's files use."""

from __future__ import annotations

import copy
import sys
from collections import OrderedDict

import flambeau
from flambeau import _utils
from flambeau._dtypes_info import STORED_ONLY
from flambeau.storage import TypedStorage, copy_storage

_NOT_A_LEAF = (
    "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment. "
    "Copy the values with tensor.detach().clone(), or tensor.clone() to stay in the graph. "
    "If you were attempting to deepcopy a module, an attribute of it holds the result of a computation, "
    "as torch.nn.utils.weight_norm leaves one"
)
# Without a typed storage class in the file format; they are written with an untyped storage and their dtype.
_NEW_DTYPES = ("uint16", "uint32", "uint64", "complex32", *STORED_ONLY)


def _metadata(tensor) -> dict:
    return {"conj": True} if tensor.dtype.is_complex and tensor.is_conj() else {}


def _recipe(tensor):
    """A rebuilding function and its arguments, for the values, size and strides of a tensor."""
    if tensor._backward_hooks:
        flambeau.utils.hooks.warn_if_has_hooks(tensor)
    if tensor.layout is not flambeau.strided:
        indices, plain, values, coalesced = flambeau._C._sparse_parts(tensor)
        parts = (indices, values) if plain is None else (indices, plain, values)
        known = (coalesced,) if plain is None else ()
        return _utils._rebuild_sparse_tensor, (tensor.layout, (*parts, tensor.shape, *known))
    size, stride = tuple(tensor.size()), tuple(tensor.stride())
    if tensor.device.type == "meta":
        return _utils._rebuild_meta_tensor_no_storage, (tensor.dtype, size, stride, tensor.requires_grad)
    untyped = tensor.untyped_storage()
    metadata = _metadata(tensor)
    where = (tensor.storage_offset(), size, stride, tensor.requires_grad, OrderedDict())
    if str(tensor.dtype).rpartition(".")[2] in _NEW_DTYPES:
        tail = (tensor.dtype, metadata) if metadata else (tensor.dtype,)
        return _utils._rebuild_tensor_v3, (untyped, *where, *tail)
    storage = TypedStorage(wrap_storage=untyped, dtype=tensor.dtype)
    return _utils._rebuild_tensor_v2, (storage, *where, metadata) if metadata else (storage, *where)


def _attributes(tensor) -> dict:
    """What the user hung on the tensor object."""
    return getattr(tensor, "__dict__", None) or {}


def is_for_a_process() -> bool:
    """Whether the pickler at work is multiprocessing's, which `flambeau.multiprocessing` may not have told yet."""
    reduction = sys.modules.get("multiprocessing.reduction")
    if reduction is None:
        return False
    # The pickler itself is not to be had from here, but it was called by one of two functions.
    callers = (reduction.ForkingPickler.dumps.__func__.__code__, reduction.dump.__code__)
    frame = sys._getframe(2)
    for _ in range(3):
        if frame is not None and frame.f_code in callers:
            return True
        frame = frame and frame.f_back
    return False


def reduce_ex(tensor, protocol: int):
    """``tensor.__reduce_ex__(protocol)``."""
    if is_for_a_process():
        flambeau.multiprocessing.reductions.check_tensor(tensor)
    state = _attributes(tensor)
    is_parameter = type(tensor) is not flambeau.Tensor and isinstance(tensor, flambeau.nn.Parameter)
    if is_parameter and type(tensor) is flambeau.nn.Parameter:
        args = (tensor.detach(), tensor.requires_grad, OrderedDict())
        if state:
            return _utils._rebuild_parameter_with_state, (*args, state)
        return _utils._rebuild_parameter, args
    function, args = _recipe(tensor)
    if type(tensor) is flambeau.Tensor and not state:
        return function, args
    if type(tensor) is flambeau.Tensor:
        return _utils._rebuild_with_attributes, (function, args, state)
    return _utils._rebuild_from_type_v2, (function, type(tensor), args, state or None)


def reduce_for_file(tensor):
    """What `save` writes for a plain tensor with attributes: as `reduce_ex`, but in the file format's own words."""
    function, args = _recipe(tensor)
    return _utils._rebuild_from_type_v2, (function, flambeau.Tensor, args, _attributes(tensor))


def has_attributes(tensor) -> bool:
    return bool(_attributes(tensor))


def deepcopy(tensor, memo: dict):
    """``copy.deepcopy(tensor)``: a leaf with memory, gradient and attributes of its own.

    Tensors that share memory still share it after one ``deepcopy`` of the object that holds them.
    """
    if id(tensor) in memo:
        return memo[id(tensor)]
    if not tensor.is_leaf:
        raise RuntimeError(_NOT_A_LEAF)
    with flambeau.no_grad():
        if tensor.layout is not flambeau.strided:
            result = flambeau.Tensor.clone(tensor)
        elif tensor.device.type == "meta":
            result = flambeau.empty_strided(
                tuple(tensor.size()), tuple(tensor.stride()), dtype=tensor.dtype, device="meta"
            )
        else:
            size, stride, offset = tuple(tensor.size()), tuple(tensor.stride()), tensor.storage_offset()
            storage = copy_storage(tensor.untyped_storage(), memo)
            result = flambeau._C.tensor_from_storage(storage, tensor.dtype, offset, size, stride)
            if _metadata(tensor):
                result = result.conj()
        if type(tensor) is not flambeau.Tensor:
            result = result.as_subclass(type(tensor))
    if tensor.requires_grad:
        result.requires_grad_(True)
    memo[id(tensor)] = result
    if tensor.grad is not None:
        result.grad = copy.deepcopy(tensor.grad, memo)
    for name, value in _attributes(tensor).items():
        setattr(result, name, copy.deepcopy(value, memo))
    return result
