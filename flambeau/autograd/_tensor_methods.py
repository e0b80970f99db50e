"""Methods of Tensor that belong to autograd."""

from .. import _C


def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
    """Add this tensor's gradient to the `.grad` of the leaves it depends on.

    gradient: the gradient of some scalar with respect to this tensor, of its shape; may be left out for one element.
    retain_graph: keep the graph's saved values for another backward. create_graph: record this one.
    inputs: accumulate into these tensors only.

    >>> x = flambeau.tensor(3.0, requires_grad=True)
    >>> (x * x).backward()
    >>> x.grad
    tensor(6.)
    """
    if retain_graph is None:
        retain_graph = create_graph
    if inputs is None and type(self) is _C.Tensor and not isinstance(gradient, (list, tuple)):
        _C._backward(self, gradient, retain_graph, create_graph)
        return
    from . import backward as backward_of

    backward_of(self, gradient, retain_graph, create_graph, inputs=inputs)


def _register(hooks, hook):
    from ..utils.hooks import RemovableHandle

    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def register_hook(self, hook):
    """Call `hook(grad)` whenever a gradient with respect to this tensor is computed.

    A tensor that the hook returns takes the gradient's place. Hooks run in the order of registration. The handle that is
    returned removes the hook with `remove()`.

    >>> x = flambeau.ones(2, requires_grad=True)
    >>> handle = x.register_hook(lambda grad: grad * 2)
    >>> x.sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    return _register(_C._hook_dict(self), hook)


def register_post_accumulate_grad_hook(self, hook):
    """Call `hook(leaf)` after a gradient has been accumulated into the `.grad` of this leaf."""
    return _register(_C._post_accumulate_hook_dict(self), hook)


def retain_grad(self):
    """Keep the gradient of this non-leaf tensor in `.grad`; nothing changes for a leaf."""
    _C._retain_grad(self)


def detach_(self):
    """Cut this tensor from the graph, in place. Views can't be."""
    return _C._detach_(self)


def install(Tensor):
    """Give Tensor the methods above."""
    for method in (backward, register_hook, register_post_accumulate_grad_hook, retain_grad, detach_):
        setattr(Tensor, method.__name__, method)
