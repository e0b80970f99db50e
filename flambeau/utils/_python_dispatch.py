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


def answer_of_rule(rules: dict, op, args: tuple, kwargs: dict):
    """What the innermost mode that has a rule for an operator makes of it: (whether there is one, the answer).

    The rule runs outside that mode and those inside it.
    """
    left: list = []
    try:
        while True:
            try:
                left.append(_C._pop_mode())
            except RuntimeError:  # none is left
                return False, None
            mode = getattr(left[-1], "__self__", None)
            rule = next((rules[cls] for cls in type(mode).__mro__ if cls in rules), None)
            if rule is not None:
                return True, rule(mode, op, (), args, kwargs)
    finally:
        for answer in reversed(left):
            _C._push_mode(answer)
