"""`Tensor._backward_hooks`: what `register_hook` keeps, as a dictionary."""

import io
import pickle
import warnings
from collections import OrderedDict

import pytest

import flambeau


def leaf(*values):
    return flambeau.tensor(list(values), dtype=flambeau.float64, requires_grad=True)


def test_the_dictionary_of_hooks():
    x = leaf(1.0)
    assert x._backward_hooks is None and flambeau.ones(2)._backward_hooks is None
    y = x * 1
    for t in (x, y):
        handle, last = t.register_hook(lambda g: g * 2), t.register_hook(abs)
        hooks = t._backward_hooks
        assert type(hooks) is OrderedDict and list(hooks) == [handle.id, last.id] and hooks[last.id] is abs
        handle.remove(), last.remove()
        assert t._backward_hooks is hooks and not hooks  # as PyTorch leaves it
    # The graph's hooks belong to a place in it, which another tensor or an in-place write leaves.
    y.register_hook(abs)
    assert y.view(1)._backward_hooks is None and y.detach()._backward_hooks is None
    y.mul_(2)
    assert y._backward_hooks is None
    y.retain_grad()
    assert y._backward_hooks is None


def test_a_dictionary_of_hooks_may_be_given():
    x = leaf(1.0)
    y = x * 1
    for t in (x, y):
        t._backward_hooks = OrderedDict({5: lambda g: g * 3})
        t._backward_hooks[6] = lambda g: g + 1
    y.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [13.0]
    x._backward_hooks = y._backward_hooks = None
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [1.0] and x._backward_hooks is None
    with pytest.raises(TypeError, match="dictionary of hooks or None, not int"):
        x._backward_hooks = 3
    with pytest.raises(RuntimeError, match="not allowed"):
        del x._backward_hooks
    x._backward_hooks = {1: lambda g: setattr(x, "_backward_hooks", None), 2: lambda g: g * 7}
    x.sum().backward()
    assert x.grad.tolist() == [8.0]  # a hook that takes them all away: they still run


def test_hooks_that_are_not_saved_are_told_of():
    x = leaf(1.0)
    handle = x.register_hook(abs)
    for write in (pickle.dumps, lambda t: flambeau.save({"x": t}, io.BytesIO())):
        with pytest.warns(
            UserWarning, match="backward hook <built-in function abs> on tensor will not be serialized"
        ):
            write(x)
    handle.remove()
    x.register_hook(flambeau.utils.hooks.unserializable_hook(lambda g: g))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(pickle.dumps(x))._backward_hooks is None
