"""`Variable`: once a wrapper, now a name for tensors that old programs still use."""

from .. import _C


class _VariableMeta(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, _C.Tensor)


class _ExecutionEngine:
    @staticmethod
    def queue_callback(callback):
        """Call `callback()` when the backward pass under way is over."""
        _C._queue_callback(callback)


class Variable(metaclass=_VariableMeta):
    """`Variable(tensor, requires_grad=False)` is the tensor itself without history, for programs older than PyTorch 0.4."""

    _execution_engine = _ExecutionEngine()

    def __new__(cls, data=None, requires_grad=False, volatile=None):
        import flambeau

        out = flambeau.empty(0) if data is None else data.detach()
        return out.requires_grad_(requires_grad)
