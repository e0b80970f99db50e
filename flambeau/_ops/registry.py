"""Operators from records.

One call of `op` is one operator: signature, documentation and derivative rule stand together::

    op("mul(Tensor input, Operand other, *, Tensor? out=None) -> Tensor",
       "Product of two tensors, or of a tensor and a number ...",
       family="pointwise", kind="same", method=True, inplace=True,
       vjp={"input": lambda grad, other: grad * conj(other),
            "other": lambda grad, input: grad * conj(input)})

The native function has the operator's name (or ``impl=``), or belongs to a ``family`` that serves many operators.
A rule's parameters say what the graph keeps: ``grad`` (gradient of the first output), ``grads`` (of all), ``needs``
(which targets want a gradient), ``result`` or an output's name, ``NAME_shape`` and ``NAME_dtype`` (no memory is kept),
and otherwise the operator's parameters by name. A key "a, b" gives the gradients of both as a tuple. The engine sums
over broadcast dimensions and converts dtypes, so that no rule mentions them. A parameter with the rule ``None`` is
not differentiable.

`composite` registers a Python function of operators: it needs no rule of its own. `takes` gives it an operator's signature.
"""

import functools
import types

from .. import _C

Tensor = _C.Tensor

#: Public functions by name, methods by name: what `flambeau` and `Tensor` show.
functions = {}
methods = {}
#: Every native operator by name, in the order of the records; tests walk it.
records = {}
#: Native in-place forms: "add_" -> operator.
inplace_records = {}


class Record:
    """What tests and stubs need to know of an operator beyond the callable itself."""

    __slots__ = (
        "op",
        "signature",
        "doc",
        "vjp",
        "family",
        "kind",
        "inplace",
        "view",
        "why_not",
        "method",
        "public",
        "jvp",
    )

    def __init__(self, **fields):
        for name, value in fields.items():
            setattr(self, name, value)


#: In-place forms that are functions too, not only methods.
INPLACE_FUNCTIONS = frozenset(
    """
    abs_ acos_ acosh_ addmv_ alpha_dropout_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_
    asin_ asinh_ atan_ atanh_ ceil_ celu_ clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_
    deg2rad_ detach_ dropout_ embedding_renorm_ erf_ erfc_ exp2_ exp_ expm1_ feature_alpha_dropout_
    feature_dropout_ fill_ fix_ floor_ frac_ gcd_ i0_ index_put_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_
    nan_to_num_ neg_ negative_ rad2deg_ reciprocal_ relu_ resize_as_ resize_as_sparse_ round_ rrelu_ rsqrt_
    selu_ sigmoid_ sin_ sinc_ sinh_ sqrt_ square_ tan_ tanh_ threshold_ trunc_ xlogy_ zero_
    """.split()
)


#: What PyTorch calls the nodes of some operators, where its own are cut otherwise: they show in printed tensors.
NODE_NAMES = {
    **dict.fromkeys(
        (
            "_to",
            "to",
            "to.dtype",
            "to.other",
            "float",
            "double",
            "half",
            "bfloat16",
            "chalf",
            "cfloat",
            "cdouble",
        ),
        "ToCopyBackward0",
    ),
    "type_as": "ToCopyBackward0",
    "linear": "AddmmBackward0",
    "matmul": "MmBackward0",
    "narrow": "SliceBackward0",
    "narrow.Tensor": "SliceBackward0",
    "reshape": "ViewBackward0",
    "split_with_sizes": "SplitBackward0",
    "_batch_norm": "NativeBatchNormBackward0",
    "_cross_entropy": "NllLossBackward0",
    "_max_pool_with_indices": "MaxPool2DWithIndicesBackward0",
}


def op(
    signature,
    doc="",
    *,
    vjp=None,
    family=None,
    kind=None,
    impl=None,
    inplace=False,
    view=False,
    method=True,
    public=True,
    name=None,
    aliases=(),
    why_not=None,
    writes=None,
    python=None,
    jvp=None,
    older=(),
):
    """Make a native operator and publish it.

    inplace: True adds the form ``NAME_`` that writes its first operand. A signature whose name ends in ``_`` is in-place
        itself. method: publish as a method of Tensor too (a str gives another name). public: publish as a function.
    name: the public name, when several signatures share one (they are tried in order); the record's own name stays unique.
        A name with a dot ("max.dim") does the same: what follows the dot tells the overloads apart.
    writes: whether calls write the first operand, where the name does not tell.
    why_not: "not differentiable" or "not written" when there is no rule, for the error message.
    python: the implementation, where it is a Python function of the parameters. It runs unrecorded.
    jvp: f(primals, tangents, results) gives the tangents of the results (None: it has none). To be given where the
        transpose of the rule does not serve forward mode: it reads more than it should, or checks what holds for gradients.
    older: see `take_older`.
    """
    own = signature[: signature.index("(")].strip()
    base = own.partition(".")[0]
    if writes is None:
        writes = base.endswith("_") and not base.endswith("__")
    made = _C.Op(
        signature,
        doc,
        vjp=vjp,
        inplace=writes,
        view=view,
        family=family,
        kind=kind,
        impl=impl,
        node_name=NODE_NAMES.get(own, ""),
        why_not=why_not,
        **({} if python is None else {"python": python}),
    )
    records[own] = Record(
        op=made,
        signature=signature,
        doc=doc,
        vjp=vjp,
        family=family,
        kind=kind,
        inplace=inplace,
        view=view,
        why_not=why_not,
        method=method,
        public=public,
        jvp=jvp,
    )
    shown = name or own.partition(".")[0]
    if public:
        for n in (shown, *aliases):
            _publish(functions, n, made)
    if method:
        for n in (shown if method is True else method, *aliases):
            _publish(methods, n, made)
    take_older(made, older)
    if inplace:
        changed = _make_inplace(
            own, shown, signature, vjp, family, kind, impl or own, aliases, why_not, method
        )
        take_older(changed, older)
    return made


def take_older(made, orders):
    """Let the operator `made` take its arguments in older orders too, given as names: ``("beta, input, mat1, mat2",)``.

    A method's tensor always comes first. PyTorch takes these with a warning, once for all of them.
    """
    if not orders:
        return
    name, _, rest = made.signature.partition("(")
    declared = {
        p.partition("=")[0].split()[-1]: p.partition("=")[0]
        for p in rest[: rest.index(")")].split(", ")
        if p != "*"
    }
    out = ", *, Tensor? out=None" if "out" in declared else ""

    def signatures(orders):
        texts = (f"{name}({', '.join(declared[n] for n in order)}{out})" for order in orders)
        return tuple(_C.Op(text, python=made, composite=True) for text in texts)

    functions_take = [order.split(", ") for order in orders]
    methods_take = [["input", *(n for n in order if n != "input")] for order in functions_take]
    _C._older_signatures(made, signatures(functions_take), signatures(methods_take))


def _make_inplace(own, shown, signature, vjp, family, kind, impl, aliases, why_not, method):
    head = signature.split("->")[0].rstrip()
    head = head.replace(", *, Tensor? out=None", "").replace(", Tensor? out=None", "")
    base, dot, overload = own.partition(".")
    native = base + "_" + dot + overload
    text = native + head[head.index("(") :] + " -> Tensor"
    made = _C.Op(
        text,
        f"In-place form of `{shown}`: writes the result into the tensor and returns it.",
        vjp=vjp,
        inplace=True,
        family=family,
        kind=kind,
        impl=impl,
        node_name=_camel(base) + "Backward0",
        why_not=why_not,
    )
    inplace_records[native] = made
    for n in (shown, *aliases):
        if method:
            _publish(methods, n + "_", made)
        if n + "_" in INPLACE_FUNCTIONS:
            _publish(functions, n + "_", made)
    return made


def _camel(name):
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _publish(table, name, made):
    """Add a callable under a public name; several operators of one name become an overload set."""
    table.setdefault(name, []).append(made)


def takes(*signatures):
    """Decorator for a function of operators: its arguments are parsed as those of an operator, natively.

    Of several signatures the first that fits is taken. Positional arguments reach the function in the signature's order,
    whatever it calls them; those after ``*`` reach it by name. Lists arrive as tuples. A wrong argument is the TypeError
    that PyTorch raises, and ``__torch_function__`` is asked once, for the whole function.
    """

    def parsed(function):
        made = tuple(_C.Op(s, function.__doc__, python=function, composite=True) for s in signatures)
        return made[0] if len(made) == 1 else _C.Overloads(made[0].__name__, made, function.__doc__)

    return parsed


def composite(
    function=None, *, method=False, public=True, inplace=False, name=None, aliases=(), override=True
):
    """Publish a Python function of operators, as a function and perhaps as a method.

    override: arguments with ``__torch_function__`` get the call before the function does.
    """

    def publish(f):
        shown, published = name or f.__name__, _with_numpy_names(f)
        wrap = overridable if override and _is_written_in_python(f) else lambda made, *_: made
        if public:
            made = wrap(published, "flambeau", shown)
            for n in (shown, *aliases):
                functions[n] = made
        if method:
            names = (shown if method is True else method, *aliases)
            made = wrap(published, "flambeau", f"Tensor.{names[0]}")
            for n in names:
                methods[n] = made
        return f

    return publish if function is None else publish(function)


def _is_written_in_python(f):
    return isinstance(f, (types.FunctionType, _C.CastFunction))


def overridable(f, module, qualname):
    """`f` as a public function of that name, of which arguments with ``__torch_function__`` are told."""
    made = functools.update_wrapper(_C.Overridable(f), f)
    made.__module__, made.__qualname__, made.__name__ = module, qualname, qualname.rpartition(".")[2]
    return made


def overridable_functions(namespace):
    """Make the public Python functions of a module, given by its `namespace`, overridable and at home there."""
    for name in namespace["__all__"]:
        if _is_written_in_python(namespace[name]):
            namespace[name] = overridable(namespace[name], namespace["__name__"], name)


#: NumPy's names for parameters, and PyTorch's.
_NUMPY_NAMES = (
    ("axis", "dim"),
    ("keepdims", "keepdim"),
    ("x2", "other"),
    ("x", "input"),
    ("a", "input"),
    ("x1", "input"),
)


def _with_numpy_names(f):
    """`f` with NumPy's names for its parameters admitted beside PyTorch's, as native operators do it."""
    code = getattr(f, "__code__", None)
    if code is None:  # a property, or another operator under a second name
        return f
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    renamed = {numpy: own for numpy, own in _NUMPY_NAMES if own in parameters and numpy not in parameters}
    if not renamed:
        return f

    @functools.wraps(f)
    def named(*args, **kwargs):
        for numpy in renamed.keys() & kwargs.keys() if kwargs else ():
            own = renamed[numpy]
            if own in kwargs:
                raise TypeError(f"{f.__name__}() got multiple values for argument '{own}'")
            kwargs[own] = kwargs.pop(numpy)
        return f(*args, **kwargs)

    return named


def collect(table):
    """The table with overload sets made: {name: callable}."""
    out = {}
    for name, found in table.items():
        if not isinstance(found, list):
            out[name] = found
        elif len(found) == 1:
            out[name] = found[0]
        else:
            doc = "\n\n".join(o.__doc__ for o in found if o.__doc__)
            out[name] = _C.Overloads(name, tuple(found), doc)
    return out


def install_methods():
    """Put every published method on Tensor."""
    for name, made in collect(methods).items():
        setattr(Tensor, name, made if not isinstance(made, (_C.Op, _C.Overloads)) else _C.Method(made))
