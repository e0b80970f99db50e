"""Truth of conditions on elements, where Python branches on them: also inside vmap, where it is that of the whole batch."""

from .. import _C


def whole(condition):
    """What a tensor stands for inside transforms: all examples."""
    found = _C._wrapped(condition)
    while found is not None:
        condition = found[1]
        found = _C._wrapped(condition)
    return condition


def any_true(condition):
    """Whether some element is true, of whatever example."""
    return bool(whole(condition).any())


def all_true(condition):
    """Whether all elements are true, of all examples."""
    return bool(whole(condition).all())
