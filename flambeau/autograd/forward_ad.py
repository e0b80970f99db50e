"""Forward-mode differentiation: not available. The names exist to say so."""

__all__ = ["dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

_MESSAGE = (
    "forward-mode automatic differentiation is not available in flambeau. Use autograd.functional.jvp, which gets "
    "Jacobian-vector products from two backward passes."
)


def _unavailable(*args, **kwargs):
    raise NotImplementedError(_MESSAGE)


make_dual = enter_dual_level = _unavailable


def unpack_dual(tensor, *, level=None):
    """No tensor has a tangent."""
    _unavailable()


def exit_dual_level(*, level=None):
    """No level was entered."""
    _unavailable()


class dual_level:
    """Raises NotImplementedError when entered."""

    def __enter__(self):
        _unavailable()

    def __exit__(self, *exc):
        return False
