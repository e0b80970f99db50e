"""Types that TorchScript's annotations use."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Union  # noqa: F401, UP035


class _BroadcastingList:
    """``BroadcastingList2[int]``: a list of two, or one value for both. An annotation, no more."""

    def __getitem__(self, types):
        return None

    def __call__(self, *args):
        raise RuntimeError("BroadcastingList is an annotation, and is not to be called")


BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = _BroadcastingList()
