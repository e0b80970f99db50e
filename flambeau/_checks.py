"""Checks that programs make of their arguments: `_check` and its kin, and assertions about tensors."""

from __future__ import annotations

from ._C import Tensor


def _check_with(error_type, cond, message=None):
    """Raises `error_type`, with the text that calling `message` gives, unless `cond` is true."""
    if not isinstance(cond, bool):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if cond:
        return
    if message is None:
        raise error_type("Expected cond to be True, but got False.")
    if not callable(message):
        raise TypeError("message must be a callable")
    raise error_type(str(message()))


def _check(cond, message=None):
    """`RuntimeError` unless `cond` is true; `message` is a function that gives the text."""
    _check_with(RuntimeError, cond, message)


def _check_index(cond, message=None):
    """`IndexError` unless `cond` is true."""
    _check_with(IndexError, cond, message)


def _check_value(cond, message=None):
    """`ValueError` unless `cond` is true."""
    _check_with(ValueError, cond, message)


def _check_type(cond, message=None):
    """`TypeError` unless `cond` is true."""
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond, message=None):
    """`NotImplementedError` unless `cond` is true."""
    _check_with(NotImplementedError, cond, message)


def _check_tensor_all_with(error_type, cond, message=None):
    """Raises `error_type` unless all elements of the boolean tensor `cond` are true."""
    if not isinstance(cond, Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if str(cond.dtype) != "torch.bool":
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _check_with(error_type, cond.all().item(), message)


def _check_tensor_all(cond, message=None):
    """`RuntimeError` unless all elements of the boolean tensor `cond` are true."""
    _check_tensor_all_with(RuntimeError, cond, message)


def _check_is_size(i, message=None, *, max=None):
    """`RuntimeError` unless `i` can be a size: not negative, and at most `max`."""
    _check(i >= 0 and (max is None or i <= max), message)


def _assert(condition, message):
    """``assert`` as a function."""
    if not condition:
        raise AssertionError(message)


def _assert_async(input, assert_msg=None):
    """`RuntimeError` unless the tensor's one value is not zero; on a processor there is nothing asynchronous about it."""
    if input.numel() != 1:
        what = "no values" if input.numel() == 0 else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
    if not input.item():
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")
