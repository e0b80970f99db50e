"""Settings for results that are the same from run to run."""

import sys
import types


class _Module(types.ModuleType):
    """This module, whose setting is checked when it is assigned."""

    _fill = False

    @property
    def fill_uninitialized_memory(self) -> bool:
        """Whether `flambeau.empty` and its relatives fill new tensors when deterministic algorithms are on: they don't."""
        return self._fill

    @fill_uninitialized_memory.setter
    def fill_uninitialized_memory(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"fill_uninitialized_memory must be a bool, but got {type(mode).__name__}")
        if mode:
            raise NotImplementedError(
                "torch.utils.deterministic.fill_uninitialized_memory: flambeau does not fill new tensors; make them with "
                "torch.full or torch.zeros where their first contents matter"
            )


sys.modules[__name__].__class__ = _Module
