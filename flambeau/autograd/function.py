"""Custom differentiable functions."""

from .. import _C

__all__ = [
    "BackwardCFunction",
    "Function",
    "FunctionCtx",
    "FunctionMeta",
    "InplaceFunction",
    "NestedIOFunction",
    "once_differentiable",
]


class FunctionCtx:
    """What `forward` tells `backward`: the `ctx` argument. Any attribute may be set on it."""

    def save_for_backward(self, *tensors):
        """Keep tensors for backward, where `ctx.saved_tensors` gives them back after checking that nobody wrote to them.

        Inputs, outputs and intermediate tensors may be saved, and None. Call it once, in forward or setup_context.
        """
        self.to_save = tensors

    def save_for_forward(self, *tensors):
        """Keep tensors for `jvp`, where `ctx.saved_tensors` gives them."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args):
        """Say which inputs forward wrote in place; they must be among its outputs."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args):
        """Say which outputs have no gradient. Integer outputs need not be named."""
        self.non_differentiable = args

    def set_materialize_grads(self, value):
        """With False, backward receives None instead of zeros for an output that was not used."""
        self.materialize_grads = bool(value)


class BackwardCFunction(_C.Node, FunctionCtx):
    """A custom function's node in the graph, which is also its `ctx`."""

    @property
    def saved_tensors(self):
        """The tensors given to save_for_backward, as a tuple."""
        return _C._saved_tensors(self)

    saved_variables = saved_tensors

    def _run_backward(self, *grads):
        cls = self._forward_cls
        if cls.backward is not Function.backward and cls.vjp is not Function.vjp:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only "
                "implement one of them."
            )
        return (cls.vjp if cls.vjp is not Function.vjp else cls.backward)(self, *grads)

    apply = _run_backward

    def __repr__(self):
        return f"<torch.autograd.function.{type(self).__name__} object at {id(self):#x}>"


class FunctionMeta(type):
    """Gives each Function class the type of its nodes."""

    def __init__(cls, name, bases, attributes):
        node_type = type(
            name + "Backward",
            (BackwardCFunction,),
            {"_forward_cls": cls, "__module__": "torch.autograd.function"},
        )
        cls._backward_cls = node_type
        super().__init__(name, bases, attributes)


class Function(metaclass=FunctionMeta):
    """Base class of custom differentiable functions.

    Subclass it with static methods `forward(ctx, *args)` (or `forward(*args)` and `setup_context(ctx, inputs, output)`)
    and `backward(ctx, *grad_outputs)`, which returns one gradient per argument of forward, None where there is none.
    Call it through `apply`.

    >>> class Square(flambeau.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * grad
    >>> x = flambeau.tensor(3.0, requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor(6.)
    """

    generate_vmap_rule = False

    def __init__(self, *args, **kwargs):
        raise RuntimeError(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should invoke "
            "them on the class itself, with `apply`."
        )

    @staticmethod
    def forward(*args, **kwargs):
        """Compute the outputs. To be overridden."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Prepare ctx from forward's inputs and output, where forward takes no ctx itself. To be overridden."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Return the gradient of each of forward's arguments. To be overridden."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Return the tangent of each output, from those of forward's arguments. To be overridden for forward mode."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info, in_dims, *args):
        """Batching rule. To be overridden."""
        raise NotImplementedError(
            "You must implement the vmap staticmethod for this custom autograd.Function to be used with vmap."
        )

    @classmethod
    def _run_forward(cls, ctx, inputs):
        if cls.setup_context is Function.setup_context:
            return cls.forward(ctx, *inputs)
        output = cls.forward(*inputs)
        cls.setup_context(ctx, inputs, output)
        return output

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run forward and record one node for it."""
        if kwargs:
            args = _bind(cls, args, kwargs)
        if _C._transforms():
            from ._function_transforms import apply

            return apply(cls, args)
        return _C._function_apply(cls, *args)


class InplaceFunction(Function):
    """A Function that may work in place; kept for programs that subclass it."""


class NestedIOFunction(Function):
    """Kept for programs that name it; nested inputs are not taken apart."""


def _bind(cls, args, kwargs):
    """Keyword arguments in the order of forward's parameters, where forward takes no ctx."""
    if cls.setup_context is Function.setup_context:
        raise TypeError(f"{cls.__name__}.apply() takes no keyword arguments")
    import inspect

    bound = inspect.signature(cls.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


def once_differentiable(function):
    """Decorator of a backward that is not itself differentiable: it runs without recording, and a second derivative
    through it raises."""
    from functools import wraps

    @wraps(function)
    def wrapper(ctx, *args):
        from .grad_mode import no_grad

        with no_grad():
            outputs = function(ctx, *args)
        if not _C.is_grad_enabled():
            return outputs
        inputs = tuple(a for a in args if isinstance(a, _C.Tensor) and a.requires_grad)
        if not inputs:
            return outputs
        single = not isinstance(outputs, tuple)
        marked = tuple(
            _C._once_differentiated(o, inputs) if isinstance(o, _C.Tensor) else o
            for o in ((outputs,) if single else outputs)
        )
        return marked[0] if single else marked

    return wrapper
