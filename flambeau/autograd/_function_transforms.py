"""Custom Functions inside function transforms: the rules they give for batches (`vmap`) and tangents (`jvp`)."""

from typing import NamedTuple

import flambeau

from .. import _C
from .._transforms import BatchLevel
from .._transforms.batching import batched_front
from .function import Function, FunctionCtx

_NOTES = "For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"


class VmapInfo(NamedTuple):
    """What a Function's `vmap` is told: how many examples, and what random operators do."""

    batch_size: int
    randomness: str


class _Ctx(FunctionCtx):
    """A `ctx` that is no node of a graph."""

    materialize_grads = True
    to_save = saved_for_forward = ()

    @property
    def saved_tensors(self):
        return self.to_save or self.saved_for_forward


def apply(cls, args):
    """`cls.apply(*args)` where some transform is active."""
    levels = {level[0]: level for level in _C._levels()}
    found = [_C._wrapped(a) for a in args]
    number = max((w[0] for w in found if w is not None and w[0] in levels), default=None)
    if number is None:
        return _C._function_apply(cls, *args)
    level = levels[number]
    if cls.__module__.startswith("flambeau.") and not hasattr(cls, "_is_batched_form"):
        return _apply_own(cls, level, args)
    separate = cls.setup_context is not Function.setup_context
    if not separate and not _is_dual_level(number):
        raise RuntimeError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must "
            f"override the setup_context staticmethod. {_NOTES}"
        )
    run = _run_batch if level[1] == "batch" else _run_forward
    wanted = _C.is_grad_enabled() and any(
        w is not None and w[0] == number and a.requires_grad for a, w in zip(args, found, strict=True)
    )
    if not (wanted and separate):
        return run(cls, level, args)
    return _C._function_apply(_recorded(cls, run, level), *args)


def _apply_own(cls, level, args):
    """The library's own Functions: they take batches of matrices in front, and their backward can be differentiated."""
    number, kind, size, _ = level
    if _C.is_grad_enabled() and any(
        isinstance(a, _C.Tensor) and a.requires_grad and _C._unwrap(a, number) for a in args
    ):
        return _C._function_apply(cls, *args)
    pairs = [_C._unwrap(a, number) or (a, None) for a in args]
    if kind == "batch":
        values = [batched_front(v, d, size) if isinstance(v, _C.Tensor) else v for v, d in pairs]
        output = cls.apply(*values)
        if isinstance(output, tuple):
            # What is not computed for the arguments given is an empty tensor.
            return tuple(_wrap(o, 0 if o.dim() and o.size(0) == size else None, number) for o in output)
        return _wrap(output, 0, number)
    return _through_backward(cls, number, pairs)


def _through_backward(cls, number, pairs):
    """Tangents from the derivative of u -> backward(u), which is linear."""
    from .._transforms.forward import _Recording, has_history

    keep = _C.is_grad_enabled() and has_history(pairs)
    moving = [i for i, (_, t) in enumerate(pairs) if t is not None]
    with flambeau.enable_grad(), _Recording([pairs[moving[0]][0]] if moving else []):
        own = [p for p, _ in pairs]
        for i in moving:
            own[i] = own[i].view_as(own[i]) if own[i].requires_grad and keep else _C._leaf(own[i])
        output = cls.apply(*own)
        outputs = _tuple(output)
        used = [o for o in outputs if isinstance(o, _C.Tensor) and o.requires_grad]
        directions = [_C._leaf(flambeau.ones_like(o)) for o in used]
        found = iter([None] * len(used))
        if used:
            products = flambeau.autograd.grad(
                used, [own[i] for i in moving], directions, create_graph=True, allow_unused=True
            )
            taken = [
                (g, pairs[i][1])
                for g, i in zip(products, moving, strict=True)
                if g is not None and g.requires_grad
            ]
            if taken:
                gradients, vectors = zip(*taken, strict=True)
                found = iter(
                    flambeau.autograd.grad(
                        gradients, directions, vectors, create_graph=keep, allow_unused=True
                    )
                )
    recorded = keep and any(isinstance(p, _C.Tensor) and p.requires_grad for p, _ in pairs)
    duals = []
    for o in outputs:
        if not isinstance(o, _C.Tensor):
            duals.append(o)
            continue
        tangent = next(found) if o.requires_grad else None
        duals.append(_C._wrap_dual(o if recorded else _C._without_history(o), tangent, number))
    return tuple(duals) if isinstance(output, tuple) else duals[0]


def _is_dual_level(number):
    from . import forward_ad

    return bool(forward_ad._entered) and forward_ad._entered[-1].number == number


def _recorded(cls, run, level):
    """A Function whose forward is the transform's, and whose backward is the user's, with tensors of this level."""

    def forward(*args):
        with flambeau.enable_grad():
            before = _C._record_level(level[0], False)
            try:
                return run(cls, level, args)
            finally:
                _C._record_level(level[0], before)

    body = {
        "forward": staticmethod(forward),
        "setup_context": staticmethod(cls.setup_context),
        "_is_batched_form": True,
    }
    for name in ("backward", "vjp"):
        if getattr(cls, name) is not getattr(Function, name):
            body[name] = staticmethod(getattr(cls, name))
    return type(cls.__name__, (Function,), body)


def _tuple(value):
    return value if isinstance(value, tuple) else (value,)


# ---- vmap ----------------------------------------------------------------------------------------------------------


def _run_batch(cls, level, args):
    number, _, size, randomness = level
    pairs = [_C._unwrap(a, number) or (a, None) for a in args]
    values, dims = [p[0] for p in pairs], tuple(p[1] for p in pairs)
    own_rule = cls.vmap is not Function.vmap
    if own_rule and cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and an overridden vmap "
            "staticmethod. Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid "
            f"ambiguity. {_NOTES}"
        )
    if own_rule:
        outputs, out_dims = cls.vmap(VmapInfo(size, randomness), dims, *values)
    elif cls.generate_vmap_rule:
        form = _batched_form(cls, size, dims, randomness)
        outputs = form.apply(*values)
        out_dims = form.out_dims if isinstance(outputs, tuple) else form.out_dims[0]
    else:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please override and implement the "
            f"vmap staticmethod or set generate_vmap_rule=True. {_NOTES}"
        )
    if not isinstance(outputs, tuple):
        return _wrap(outputs, out_dims, number)
    each = out_dims if isinstance(out_dims, tuple) else (out_dims,) * len(outputs)
    return tuple(_wrap(o, d, number) for o, d in zip(outputs, each, strict=True))


def _wrap(value, dim, number):
    if not isinstance(value, _C.Tensor):
        return value
    return _C._wrap_batched(value, -1 if dim is None else dim % value.dim(), number)


def _batched_form(cls, size, in_dims, randomness):
    """The Function of whole batches that a Function of examples makes: generate_vmap_rule=True."""

    def wrapped(level, values, dims):
        return tuple(
            level.wrap(v, d) if d is not None and isinstance(v, _C.Tensor) else v
            for v, d in zip(values, dims, strict=True)
        )

    def taken(level, values):
        return tuple(zip(*(level.unwrap(v) for v in values), strict=True)) or ((), ())

    class Form(Function):
        _is_batched_form = True
        generate_vmap_rule = True
        out_dims = ()

        @staticmethod
        def forward(*values):
            with BatchLevel(size, randomness) as level:
                given = cls.forward(*wrapped(level, values, in_dims))
                outputs, Form.out_dims = taken(level, _tuple(given))
            return outputs if isinstance(given, tuple) else outputs[0]

        @staticmethod
        def setup_context(ctx, inputs, output):
            inner = ctx.inner = _Ctx()
            with BatchLevel(size, randomness) as level:
                outputs = wrapped(level, _tuple(output), Form.out_dims)
                cls.setup_context(
                    inner,
                    wrapped(level, inputs, in_dims),
                    outputs if isinstance(output, tuple) else outputs[0],
                )
                saved, ctx.saved_dims = taken(level, inner.to_save)
                forward_saved, ctx.forward_dims = taken(level, inner.saved_for_forward)
            inner.to_save, inner.saved_for_forward = (), ()
            ctx.save_for_backward(*saved)
            ctx.save_for_forward(*forward_saved)
            ctx.set_materialize_grads(inner.materialize_grads)

        @staticmethod
        def backward(ctx, *grads):
            inner = ctx.inner
            inner.needs_input_grad = ctx.needs_input_grad
            with BatchLevel(size, randomness) as level:
                inner.to_save = wrapped(level, ctx.saved_tensors, ctx.saved_dims)
                rule = cls.vjp if cls.vjp is not Function.vjp else cls.backward
                given = _tuple(rule(inner, *wrapped(level, grads, Form.out_dims)))
                results = [level.unwrap(g) if isinstance(g, _C.Tensor) else (g, None) for g in given]
            inner.to_save = ()
            return tuple(_gradient(g, at, dim, size) for (g, at), dim in zip(results, in_dims, strict=False))

        @staticmethod
        def jvp(ctx, *tangents):
            inner = ctx.inner
            with BatchLevel(size, randomness) as level:
                inner.saved_for_forward = wrapped(
                    level, ctx.saved_tensors, ctx.forward_dims or ctx.saved_dims
                )
                given = cls.jvp(inner, *wrapped(level, tangents, in_dims))
                found = [level.unwrap(t) for t in _tuple(given)]
            inner.saved_for_forward = ()
            aligned = tuple(
                t.expand(size, *t.shape).movedim(0, d) if at is None else t.movedim(at, d)
                for (t, at), d in zip(found, Form.out_dims, strict=True)
            )
            return aligned if isinstance(given, tuple) else aligned[0]

    Form.__name__ = cls.__name__
    return Form


def _gradient(grad, at, dim, size):
    """A gradient as the input has it: summed over examples where the input was the same for all."""
    if grad is None or not isinstance(grad, _C.Tensor):
        return grad
    if dim is None:
        return grad.sum(at) if at is not None else grad * size
    if at is None:
        return grad.expand(size, *grad.shape).movedim(0, dim)
    return grad.movedim(at, dim)


def _dual(value, tangent, number, recorded):
    """A result with its tangent; where the Function has one node for both, its history goes on above the level."""
    dual = _C._wrap_dual(value, tangent, number)
    return _C._continue_history(dual, value) if recorded and value.requires_grad else dual


# ---- forward mode --------------------------------------------------------------------------------------------------


def _run_forward(cls, level, args):
    number = level[0]
    if cls.jvp is Function.jvp:
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )
    pairs = [_C._unwrap(a, number) or (a, None) for a in args]
    primals = tuple(p[0] for p in pairs)
    inner = _Ctx()
    inner.needs_input_grad = tuple(isinstance(p, _C.Tensor) and p.requires_grad for p in primals)
    recorded = False
    if cls.setup_context is Function.setup_context:
        recorded = _C.is_grad_enabled()
        with flambeau.no_grad():
            output = cls.forward(inner, *primals)
        if _C.is_grad_enabled() and any(inner.needs_input_grad):
            output = cls.apply(*primals)
    else:
        output = cls.apply(*primals)
        cls.setup_context(inner, primals, output)
    if inner.saved_for_forward:
        inner.to_save = ()
    tangents = [
        flambeau.zeros_like(p) if t is None and inner.materialize_grads and isinstance(p, _C.Tensor) else t
        for p, t in pairs
    ]
    given = _tuple(cls.jvp(inner, *tangents))
    outputs = _tuple(output)
    if len(given) != len(outputs):
        raise RuntimeError(
            f"{cls.__name__}.jvp returned an incorrect number of tangents (expected {len(outputs)}, got {len(given)})"
        )
    duals = tuple(
        _dual(o, t, number, recorded) if isinstance(o, _C.Tensor) else o
        for o, t in zip(outputs, given, strict=True)
    )
    return duals if isinstance(output, tuple) else duals[0]
