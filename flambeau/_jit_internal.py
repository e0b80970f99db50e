"""Marks for TorchScript under the inner names by which libraries import them: see `flambeau.jit`."""

from __future__ import annotations

from .jit import Final, Future, _overload, _overload_method, export, ignore, is_scripting, unused  # noqa: F401

__all__ = ["Final", "Future", "export", "ignore", "is_scripting", "unused"]


def _copy_to_script_wrapper(fn):
    """Returns the method.

    >>> from flambeau._jit_internal import _copy_to_script_wrapper
    >>> _copy_to_script_wrapper(abs) is abs
    True
    """
    return fn


class BroadcastingListCls:
    """The type of marks in signatures: one value, or as many as the list has."""

    def __getitem__(self, types):
        return


BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = BroadcastingListCls()
BroadcastingList4 = BroadcastingList5 = BroadcastingList6 = BroadcastingListCls()
