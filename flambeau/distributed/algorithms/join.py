"""Training on uneven inputs: processes that are done answer the operations of those that are not.

Note [Joining]: with each step, processes that still have inputs count themselves (`Join.notify_join_context`). One that has
left its loop counts with zero, and as long as somebody is left it calls each object's `JoinHook.main_hook`, which does as
the object's collective operations of one step need.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import NamedTuple

import flambeau

from .. import operations

__all__ = ["Join", "JoinHook", "Joinable"]

#: After so many steps, those who wait for others are told that they do.
_MANY_STEPS = 1000


class JoinHook:
    """What a process does for an object once it has no more inputs."""

    def main_hook(self) -> None:
        """Answer the collective operations of one step of the others."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """Called when all are done; `is_last_joiner` says whether this process was among the last."""


class _JoinConfig(NamedTuple):
    enable: bool
    throw_on_early_termination: bool
    is_first_joinable: bool


_DISABLED = _JoinConfig(False, False, False)


class Joinable(ABC):
    """An object whose steps have collective operations."""

    @abstractmethod
    def __init__(self):
        super().__init__()
        self._join_config = _DISABLED

    @abstractmethod
    def join_hook(self, **kwargs) -> JoinHook:
        """The hook for this object; `kwargs` are those that `Join` was given."""

    @property
    @abstractmethod
    def join_device(self):
        """The device of this object's collective operations."""

    @property
    @abstractmethod
    def join_process_group(self):
        """The group of this object's collective operations."""


class Join:
    """A context within which processes may leave their loops at different times.

    Args:
        joinables: objects of one group, `DistributedDataParallel` models say. Each step calls the first of them.
        enable: False to do nothing.
        throw_on_early_termination: raise an error in all processes as soon as one is done.
        **kwargs: for the objects' hooks.

    >>> with Join([model]):  # doctest: +SKIP
    ...     for x, y in loader_of_some_length:
    ...         criterion(model(x), y).backward()
    """

    def __init__(
        self, joinables: list, enable: bool = True, throw_on_early_termination: bool = False, **kwargs
    ):
        if not joinables:
            raise ValueError("The join context manager requires at least one joinable")
        self._joinables, self._enable = joinables, enable
        self._throws = throw_on_early_termination
        groups = {id(each.join_process_group): each.join_process_group for each in joinables}
        if len(groups) != 1:
            raise ValueError("Using join context manager with multiple process groups")
        (self._group,) = groups.values()
        self._hooks = [each.join_hook(**kwargs) for each in joinables]
        for i, each in enumerate(joinables):
            each._join_config = _JoinConfig(enable, throw_on_early_termination, i == 0)

    def __enter__(self) -> Join:
        return self

    def __exit__(self, kind, value, traceback) -> None:
        try:
            if self._enable and kind is None:
                self._answer_others()
        finally:
            for each in self._joinables:
                each._join_config = _DISABLED

    def _answer_others(self) -> None:
        last, steps = True, 0
        while _count(0.0, self._group):
            last = False
            if self._throws:
                _count(1.0, self._group)  # which makes the others throw
                raise RuntimeError(
                    "Detected at least one rank that exhausted inputs. Throwing across all ranks."
                )
            steps += 1
            if steps == _MANY_STEPS:
                warnings.warn(
                    f"Detected uneven input skew of greater than {_MANY_STEPS}. This means that rank "
                    f"{self._group.rank()} has at least {_MANY_STEPS} fewer inputs than other currently-active ranks.",
                    stacklevel=3,
                )
            for hook in self._hooks:
                hook.main_hook()
        for hook in self._hooks:
            hook.post_hook(last)

    @staticmethod
    def notify_join_context(joinable: Joinable) -> int | None:
        """Count this process among those that have inputs. Every step of an object begins with it.

        Returns:
            How many there are; None where nobody counts: outside of a context, or if `joinable` is not the first.
        """
        config = getattr(joinable, "_join_config", _DISABLED)
        if not (config.enable and config.is_first_joinable):
            return None
        group = joinable.join_process_group
        active = _count(1.0, group)
        if config.throw_on_early_termination and active < group.size():
            _count(0.0, group)
            raise RuntimeError("Detected at least one rank that exhausted inputs. Throwing across all ranks.")
        return active


def _count(own: float, group) -> int:
    total = flambeau.tensor([own])
    operations.all_reduce(total, group=group)
    return int(total.item())
