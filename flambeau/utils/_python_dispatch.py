"""Modes that answer in the place of operators."""

from flambeau import _C, _aten

__all__ = ["TorchDispatchMode"]


class TorchDispatchMode:
    """Context manager inside which every native operator of this thread goes through `__torch_dispatch__`.

    A subclass gives `__torch_dispatch__(self, func, types, args=(), kwargs=None)`; `func` is an overload of
    ``torch.ops.aten``, and calling it runs the operator, outside this mode. Operators of a backward pass come by too.
    Unlike PyTorch's modes it stands above the recording of derivatives: what `func` returns has its history already, and
    layers come as the operators that they are here (``aten.linear``, not ``aten.addmm``).

    >>> from flambeau.utils._python_dispatch import TorchDispatchMode
    >>> class Names(TorchDispatchMode):
    ...     def __torch_dispatch__(self, func, types, args=(), kwargs=None):
    ...         print(func)
    ...         return func(*args, **(kwargs or {}))
    >>> with Names():
    ...     y = flambeau.ones(2) * 2
    aten.ones.default
    aten.mul.Tensor
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError(f"{type(self).__name__} has no __torch_dispatch__")

    def _answer(self, op, args, kwargs):
        return self.__torch_dispatch__(_aten.overload_of(op), (), args, kwargs)

    def __enter__(self):
        _C._push_mode(self._answer)
        return self

    def __exit__(self, *exc):
        _C._pop_mode()
