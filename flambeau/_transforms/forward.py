"""Forward mode: the tangent of an operator's results from those of its arguments.

There is no second table of derivatives. The rule of an operator for reverse mode is linear in the gradient it is given:
u -> vjp(u). Differentiating that in u and applying the result to the tangents gives the directional derivative, for
every operator that has a rule. Three families take a shorter way: linear operators act on the tangent itself, pointwise
ones use their rule with the tangent as the gradient, and products of matrices use the product rule.
"""

import flambeau

from .. import _C
from .._ops.registry import records
from .parameters import names, record_of, typed

Tensor = _C.Tensor
_call = _C._call

#: Linear in their first parameter (a tensor, or a list of them), whatever the others are.
_LINEAR = frozenset(
    """
    neg clone contiguous _to to.dtype to.other to float double half bfloat16 chalf cfloat cdouble cpu type_as sum mean
    cumsum flip roll repeat tril triu gather index index_select take cat stack _fft_c2c _fft_r2c _fft_c2r _unfold _fold
    _resize _resize_backward _avg_pool _avg_pool_backward _adaptive_avg_pool _adaptive_avg_pool_backward embedding
    embedding_dense_backward conj_physical _max_pool_backward
    """.split()
)
#: Pointwise outside that family.
_POINTWISE = frozenset(
    """
    add sub pow abs maximum minimum clamp clamp_min clamp_max where where.method masked_fill round _nan_to_num gelu logit
    polygamma lerp addcdiv div
    """.split()
)
#: Linear in each of the first two parameters.
_BILINEAR = frozenset("mm bmm mv dot matmul".split())


class _Entry:
    """One function of a rule: what it gives gradients of, and what its parameters stand for."""

    def __init__(self, key, function, parameters, outputs):
        self.targets = [parameters.index(n.strip()) for n in key.split(",")]
        self.single = len(self.targets) == 1
        self.function = function
        code = function.__code__
        self.sources = [_source(name, parameters, outputs) for name in code.co_varnames[: code.co_argcount]]


def _source(name, parameters, outputs):
    if name in ("grad", "grads", "needs"):
        return (name, None)
    if name in parameters:
        return ("value", parameters.index(name))
    if name in ("result", "results"):
        return (name, None)
    if name in outputs:
        return ("output", outputs.index(name))
    stem, _, what = name.rpartition("_")
    return (what, parameters.index(stem))


class _Plan:
    """What is known of an operator, looked up once."""

    def __init__(self, op):
        name, record = record_of(op)
        base = op.__name__.partition(".")[0]
        self.op, self.name = op, name
        self.writes = base.endswith("_") and not base.endswith("__")
        self.parameters = names(op)
        results = record.signature.rpartition("->")[2].strip().strip("()")
        self.outputs = [part.split()[1] for part in results.split(", ") if len(part.split()) > 1]
        self.entries = [
            _Entry(key, function, self.parameters, self.outputs)
            for key, function in (record.vjp or {}).items()
            if function is not None
        ]
        self.jvp = record.jvp
        self.missing = record.why_not == "not written"
        kinds = [kind for kind, _ in typed(op)]
        self.lists = [k in ("Tensor[]", "Tensor?[]") for k in kinds]
        self.view = record.view and not self.writes
        self.way = self._choose(record)

    def _choose(self, record):
        name = self.name
        if record.jvp is not None:
            return _given
        if name in ("detach",):
            return _nothing
        if (record.view and record.vjp) or name in _LINEAR:
            return _linear
        if name == "constant_pad_nd":
            return _padded
        if name in _BILINEAR:
            return _bilinear
        if name == "linear":
            return _affine
        if name == "convolution":
            return _convolution
        if (record.family == "pointwise" or name in _POINTWISE) and self.entries:
            return _pointwise
        return _general if self.entries else _nothing


_plans = {}


def _plan_of(op):
    plan = _plans.get(op)
    if plan is None:
        plan = _plans[op] = _Plan(op)
    return plan


def _any(tangents):
    for t in tangents:
        if t is not None and (not isinstance(t, tuple) or any(x is not None for x in t)):
            return True
    return False


def forward(op, primals, tangents, level):
    """Run one operator on tensors with tangents: called by the native half. (results, their tangents)."""
    plan = _plan_of(op)
    if plan.writes:
        return _in_place(plan, primals, tangents)
    if plan.name in _INSTEAD:
        return _INSTEAD[plan.name](primals, tangents, level)
    out = _call(op, primals)
    if not _any(tangents):
        return out, None
    _check_written(plan, out)
    return out, plan.way(plan, primals, tangents, out)


def _check_written(plan, out):
    if plan.missing and any(_differentiable(o) for o in (out if isinstance(out, (tuple, list)) else (out,))):
        raise NotImplementedError(
            f"Trying to use forward AD with {plan.name} that does not support it because it has not been implemented yet."
        )


def _in_place(plan, primals, tangents):
    """The operand as it was is kept where a rule asks for it."""
    if plan.name in ("transpose_", "unsqueeze_"):
        raise NotImplementedError(
            f"{plan.name} changes a shape in place, which forward-mode differentiation does not follow"
        )
    moving = _any(tangents)
    before = primals
    again = any(p is primals[0] for p in primals[1:])
    if moving and (again or any(("value", 0) in e.sources for e in plan.entries)):
        original = primals[0].clone()
        before = tuple(original if p is primals[0] else p for p in primals)
    _call(plan.op, primals)
    if not moving:
        return primals[0], None
    way = plan.way if plan.way is _pointwise else (_general if plan.entries else _nothing)
    tangent = way(plan, before, tangents, primals[0])
    if tangent is not None:
        tangent = _fit(tangent, primals[0])
    return primals[0], tangent


def _fit(tangent, out):
    """A tangent in the shape and dtype of what it belongs to."""
    if tangent.dtype != out.dtype:
        tangent = _as_dtype(tangent, out.dtype)
    return tangent if tangent.shape == out.shape else tangent.expand(out.shape)


def _as_dtype(t, dtype):
    if t.dtype.is_complex and not dtype.is_complex:
        t = t.real
    return t.to(dtype)


def _differentiable(o):
    return isinstance(o, Tensor) and (o.dtype.is_floating_point or o.dtype.is_complex)


def _nothing(plan, primals, tangents, out):
    return None


def _kept(tangent, out):
    """No tangent where the result has no derivatives."""
    if isinstance(out, (tuple, list)):
        return tuple(t if _differentiable(o) else None for t, o in zip(tangent, out, strict=True))
    return tangent if _differentiable(out) else None


def _given(plan, primals, tangents, out):
    return plan.jvp(primals, tangents, out)


def _linear(plan, primals, tangents, out):
    tangent = tangents[0]
    if plan.lists[0]:
        tangent = tuple(
            flambeau.zeros_like(p) if t is None else t for p, t in zip(primals[0], tangent, strict=True)
        )
    elif tangent is None:
        return None
    return _kept(_call(plan.op, (tangent, *primals[1:])), out)


def _padded(plan, primals, tangents, out):
    return _call(plan.op, (tangents[0], primals[1], 0))


def _sum(terms):
    total = None
    for term in terms:
        if term is not None:
            total = term if total is None else total + term
    return total


def _bilinear(plan, primals, tangents, out):
    a, b = primals[:2]
    ta, tb = tangents[:2]
    return _sum(
        (
            None if ta is None else _call(plan.op, (ta, b, *primals[2:])),
            None if tb is None else _call(plan.op, (a, tb, *primals[2:])),
        )
    )


def _affine(plan, primals, tangents, out):
    """input @ weight.T + bias, and the like."""
    x, w, _, *rest = primals
    tx, tw, tb = tangents[:3]
    total = _sum(
        (
            None if tx is None else _call(plan.op, (tx, w, None, *rest)),
            None if tw is None else _call(plan.op, (x, tw, None, *rest)),
        )
    )
    if tb is None:
        return total
    return tb.expand_as(out) if total is None else total + tb


def _convolution(plan, primals, tangents, out):
    bias = tangents[2]
    if bias is None:
        return _affine(plan, primals, tangents, out)
    bias = bias.view(-1, *(1,) * (out.dim() - 2))
    return _affine(plan, primals, (*tangents[:2], bias), out)


def _arguments(entry, primals, outs, grads, needs):
    given = []
    for kind, i in entry.sources:
        if kind == "value":
            given.append(primals[i])
        elif kind == "grad":
            given.append(grads[0])
        elif kind == "grads":
            given.append(grads)
        elif kind == "needs":
            given.append(needs)
        elif kind == "result":
            given.append(outs[0])
        elif kind == "results":
            given.append(tuple(outs))
        elif kind == "output":
            given.append(outs[i])
        else:
            given.append(_about(primals[i], kind))
    return given


def _about(value, what):
    if isinstance(value, (tuple, list)):
        return tuple(None if v is None else _about(v, what) for v in value)
    if not isinstance(value, Tensor):
        return None
    if what == "shape":
        return value.shape
    if what == "dtype":
        return value.dtype
    return tuple(value.shape), value.stride(), value.storage_offset()


def _pointwise(plan, primals, tangents, out):
    """The sum over arguments of their tangents times the derivative: what the rule makes of the tangent."""
    if (
        isinstance(out, (tuple, list))
        or out.dtype.is_complex
        or any(isinstance(t, Tensor) and t.dtype.is_complex for t in tangents)
    ):
        return _general(plan, primals, tangents, out)
    if not out.dtype.is_floating_point:
        return None
    terms = []
    for entry in plan.entries:
        for j, target in enumerate(entry.targets):
            tangent = tangents[target]
            if tangent is None:
                continue
            needs = tuple(k == j for k in range(len(entry.targets)))
            given = entry.function(*_arguments(entry, primals, (out,), (_fit(tangent, out),), needs))
            terms.append(given if entry.single else given[j])
    total = _sum(terms)
    return None if total is None else _fit(total, out)


def _general(plan, primals, tangents, out):
    """The derivative of u -> vjp(u), which is linear, applied to the tangents."""
    outs = out if isinstance(out, (tuple, list)) else (out,)
    keep = _C.is_grad_enabled() and has_history((primals, tangents))
    with flambeau.enable_grad():
        directions = tuple(_C._leaf(flambeau.ones_like(o)) if _differentiable(o) else None for o in outs)
        wanted = [d for d in directions if d is not None]
        if not wanted:
            return None
        with _Recording(wanted):
            products, vectors = [], []
            for entry in plan.entries:
                for product, tangent in _products(entry, primals, tangents, outs, directions):
                    products.append(product)
                    vectors.append(tangent)
            if not products:
                return None
            found = iter(
                _C._run_backward(tuple(products), tuple(vectors), False, keep, tuple(wanted), True, False)
            )
    results = tuple(None if d is None else next(found) for d in directions)
    if isinstance(out, (tuple, list)):
        return results
    return results[0]


def has_history(value):
    """Whether a tensor, or one among many, or what it stands for, requires a gradient."""
    if isinstance(value, (tuple, list)):
        return any(has_history(v) for v in value)
    while isinstance(value, Tensor):
        if value.requires_grad:
            return True
        found = _C._wrapped(value)
        value = found and found[1]
    return False


class _Recording:
    """What the tensors belong to is recorded, whatever the transform outside of this one wants."""

    def __init__(self, tensors):
        wrapped = _C._wrapped(tensors[0]) if tensors else None
        self.level = wrapped[0] if wrapped else None

    def __enter__(self):
        if self.level is not None:
            self.before = _C._record_level(self.level, True)

    def __exit__(self, *exc):
        if self.level is not None:
            _C._record_level(self.level, self.before)


def _products(entry, primals, tangents, outs, directions):
    """(vjp(u) for one argument, its tangent) where both exist."""
    needs, active = [], False
    for target in entry.targets:
        t = tangents[target]
        need = tuple(x is not None for x in t) if isinstance(t, tuple) else t is not None
        needs.append(need)
        active |= any(need) if isinstance(need, tuple) else need
    if not active:
        return
    given = entry.function(*_arguments(entry, primals, outs, directions, tuple(needs)))
    for target, product in zip(entry.targets, (given,) if entry.single else given or (), strict=False):
        pairs = (
            zip(product or (), tangents[target], strict=False)
            if isinstance(tangents[target], tuple)
            else ((product, tangents[target]),)
        )
        for p, t in pairs:
            if p is None or t is None or not p.requires_grad:
                continue
            if t.dtype != p.dtype:
                t = _as_dtype(t, p.dtype)
            yield p, (t if t.shape == p.shape else t.expand(p.shape))


# ---- operators whose form without a derivative is chosen where none seems needed -----------------------------------


def _with_positions(name):
    def run(primals, tangents, level):
        op = records[name].op
        values, marks = forward(op, primals, tangents, level)
        return values[0], None if marks is None else marks[0]

    return run


_INSTEAD = {
    "_max_pool": _with_positions("_max_pool_with_indices"),
    "_adaptive_max_pool": _with_positions("_adaptive_max_pool_with_indices"),
}
