"""Operators of one's own, by PyTorch's registry: a name, a function, a rule for shapes, a derivative.

`custom_op` makes one; it is called as a function and found as ``torch.ops.NAMESPACE.NAME``.
"""

from __future__ import annotations

import contextlib
import inspect
import types

import flambeau

from . import _C, _aten, _dispatch_keys
from .autograd import Function

__all__ = [
    "CustomOpDef",
    "Library",
    "custom_op",
    "define",
    "fallthrough_kernel",
    "get_ctx",
    "get_kernel",
    "impl",
    "impl_abstract",
    "infer_schema",
    "register_autocast",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_torch_dispatch",
    "register_vmap",
]

_operators: dict[str, dict[str, CustomOpDef]] = {}
#: Rules for shapes of operators that a compiled library was to define, which is not there.
_early_fakes: dict[str, object] = {}


def _split(name: str) -> tuple[str, str]:
    namespace, separator, rest = name.partition("::")
    if not (separator and namespace.isidentifier() and rest.partition(".")[0].isidentifier()):
        raise ValueError(f"Expected an operator's name as 'namespace::name', got {name!r}")
    return namespace, rest.partition(".")[0]


def _find(op) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    namespace, name = _split(op)
    try:
        return _operators[namespace][name]
    except KeyError:
        raise RuntimeError(
            f"There is no operator {op}: define it with torch.library.custom_op or define"
        ) from None


def _tensors_in(values):
    from .utils import _pytree

    return [leaf for leaf in _pytree.tree_leaves(values) if isinstance(leaf, _C.Tensor)]


class CustomOpDef:
    """An operator that a program has defined; called as the function that it was made from.

    Its parts are given by the decorators `register_fake`, `register_autograd` and `register_kernel`.
    """

    def __init__(self, namespace: str, name: str, schema: str | None = None):
        self._namespace, self._name = namespace, name
        self._schema = schema
        self._kernels: dict[str, object] = {}  # by kind of device; "" stands for all
        self._disabled: set[str] = set()  # kinds whose kernels are passed over
        self._fake = None
        self._backward = None
        self._setup_context = None
        self._composite = None  # differentiable by what it calls
        self._vmap = None
        self._autocast: dict[str, object] = {}  # dtypes by kind of device
        self._dispatch: dict[type, object] = {}  # what modes answer, by their class
        self._node = None
        self.__name__ = name

    @property
    def _qualname(self) -> str:
        return f"{self._namespace}::{self._name}"

    @property
    def default(self) -> CustomOpDef:
        """The one overload, which is the operator itself."""
        return self

    def overloads(self) -> list[str]:
        """Names of the overloads."""
        return ["default"]

    def register_kernel(self, device_types, func=None, /):
        """Decorator: the function to call for tensors on kinds of devices (a name, a list of them, or None for all)."""
        if func is None:
            return lambda f: self.register_kernel(device_types, f)
        kinds = [device_types] if isinstance(device_types, (str, types.NoneType)) else device_types
        for kind in kinds:
            self._kernels["" if kind in (None, "default") else kind] = func
        return func

    @contextlib.contextmanager
    def set_kernel_enabled(self, device_type: str, enabled: bool = True):
        """Inside ``with``, pass over the kernel that `register_kernel` gave for a kind of device, or take it again.

        >>> @flambeau.library.custom_op("docs::halved", mutates_args=())
        ... def halved(x: flambeau.Tensor) -> flambeau.Tensor:
        ...     return x / 2
        >>> fast = halved.register_kernel("cpu")(lambda x: x * 0.5 + 1)
        >>> with halved.set_kernel_enabled("cpu", False):
        ...     halved(flambeau.ones(1))
        tensor([0.5000])
        """
        before = set(self._disabled)
        self._disabled = before - {device_type} if enabled else before | {device_type}
        try:
            yield
        finally:
            self._disabled = before

    def register_fake(self, func, /):
        """Decorator: the function that makes results without data, for tensors on the meta device."""
        self._fake = func
        return func

    def register_vmap(self, func=None):
        """Decorator: what `flambeau.vmap` does, which takes the operator's function apart otherwise.

        The rule takes ``info`` (with ``batch_size`` and ``randomness``), the dimension of the examples in each argument (or
        None), and the arguments; it returns the results and the dimensions of the examples in them.
        """
        if func is None:
            return self.register_vmap
        self._vmap, self._node = func, None
        return func

    def register_autocast(self, device_type: str, cast_inputs) -> None:
        """Inside `flambeau.autocast`, convert floating-point arguments (except float64) to a dtype."""
        if not isinstance(cast_inputs, _C.dtype):
            raise TypeError(f"register_autocast: expected a dtype, got {type(cast_inputs)}")
        self._autocast[_C.device(device_type).type] = cast_inputs

    def register_torch_dispatch(self, torch_dispatch_class: type, func=None, /):
        """Decorator: what the operator does inside a mode of this class. The function takes
        ``mode, func, types, args, kwargs``.

        Raises:
            NotImplementedError: the class is none of modes. Classes of tensors answer by ``__torch_function__`` here.
        """
        if func is None:
            return lambda f: self.register_torch_dispatch(torch_dispatch_class, f)
        from .utils._python_dispatch import TorchDispatchMode

        if not (
            isinstance(torch_dispatch_class, type) and issubclass(torch_dispatch_class, TorchDispatchMode)
        ):
            raise NotImplementedError(
                f"register_torch_dispatch: {torch_dispatch_class} is no TorchDispatchMode; tensors of other classes have "
                "__torch_function__ here, and no __torch_dispatch__"
            )
        self._dispatch[torch_dispatch_class] = func
        return func

    def register_autograd(self, backward, /, *, setup_context=None) -> None:
        """The derivative.

        Args:
            backward: takes ``ctx`` and the results' gradients; returns one gradient (or None) per argument.
            setup_context: takes ``ctx, inputs, output`` and keeps in ``ctx`` what backward needs.
        """
        self._backward, self._setup_context, self._node = backward, setup_context, None

    def _run(self, *args):
        kind = next((t.device.type for t in _tensors_in(args)), "")
        if kind == "meta" and self._fake is not None:
            return self._fake(*args)
        kernel = None if kind in self._disabled else self._kernels.get(kind)
        kernel = kernel or self._kernels.get("")
        if kernel is None and not kind:
            kernel = next(iter(self._kernels.values()), None)
        if kernel is None:
            have = ", ".join(sorted(self._kernels)) or "none"
            raise NotImplementedError(
                f"Could not run '{self._qualname}' with tensors on device '{kind}': it has kernels for {have}"
            )
        return kernel(*args)

    def _positional(self, args, kwargs) -> tuple:
        function = next(iter(self._kernels.values()), None) or self._fake or self._composite
        if not kwargs and (function is None or len(args) == len(inspect.signature(function).parameters)):
            return args
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def _make_node(self):
        op = self

        def forward(*args):
            return op._run(*args)

        def setup_context(ctx, inputs, output):
            if op._setup_context is not None:
                op._setup_context(ctx, inputs, output)

        def backward(ctx, *grads):
            if op._backward is None:
                raise RuntimeError(
                    f"Trying to backward through {op._qualname}.default but no autograd formula was registered. "
                    "Please use register_autograd to add one."
                )
            return op._backward(ctx, *grads)

        namespace = {
            name: staticmethod(function)
            for name, function in (
                ("forward", forward),
                ("setup_context", setup_context),
                ("backward", backward),
            )
        }
        if self._vmap is not None:
            namespace["vmap"] = staticmethod(self._vmap)
        namespace["__module__"] = (
            f"torch.ops.{self._namespace}"  # a user's Function, not one of the library's own
        )
        return type(f"GeneratedBackwardFor_{self._namespace}_{self._name}_default", (Function,), namespace)

    def _cast(self, args):
        """The arguments as autocast wants them; None where it does not."""
        from . import amp
        from .utils import _pytree

        kind = next((t.device.type for t in _tensors_in(args)), "")
        dtype = self._autocast.get(kind)
        if dtype is None or not amp.autocast_mode.is_autocast_enabled(kind):
            return None
        return _pytree.tree_map_only(
            _C.Tensor,
            lambda t: t.to(dtype) if t.is_floating_point() and t.dtype != flambeau.float64 else t,
            args,
        )

    def __call__(self, *args, **kwargs):
        if self._dispatch:
            from .utils._python_dispatch import answer_of_rule

            found, answer = answer_of_rule(self._dispatch, self, args, kwargs)
            if found:
                return answer
        if self._autocast:
            cast = self._cast((args, kwargs))
            if cast is not None:
                kind = next(t.device.type for t in _tensors_in(cast))
                with flambeau.autocast(kind, enabled=False):
                    return self(*cast[0], **cast[1])
        if self._composite is not None:
            return self._composite(*args, **kwargs)
        args = self._positional(args, kwargs)
        needs_grad = _C.is_grad_enabled() and any(t.requires_grad for t in _tensors_in(args))
        if not needs_grad and not (self._vmap is not None and _C._transforms()):
            return self._run(*args)
        if self._node is None:
            self._node = self._make_node()
        return self._node.apply(*args)

    def __repr__(self):
        return f"<CustomOpDef({self._qualname})>"


def _put(op: CustomOpDef) -> CustomOpDef:
    op._fake = _early_fakes.pop(op._qualname, None)
    _operators.setdefault(op._namespace, {})[op._name] = op
    return op


def custom_op(
    name: str, fn=None, /, *, mutates_args, device_types=None, schema: str | None = None, tags=None
):
    """Make a function an operator, whose inside autograd does not look into. Usable as a decorator.

    Args:
        name: ``"namespace::name"``.
        fn: takes and returns tensors, numbers and lists of them.
        mutates_args: names of the arguments that the function writes to, or ``"unknown"``.
        device_types: kinds of devices that `fn` is for; None means all.
        schema: the signature as text; taken from the annotations otherwise, which are not looked at here.

    >>> @flambeau.library.custom_op("docs::twice", mutates_args=())
    ... def twice(x: flambeau.Tensor) -> flambeau.Tensor:
    ...     return 2 * x
    >>> twice.register_autograd(lambda ctx, grad: 2 * grad)
    >>> x = flambeau.ones(2, requires_grad=True)
    >>> flambeau.ops.docs.twice(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    if fn is None:
        return lambda f: custom_op(
            name, f, mutates_args=mutates_args, device_types=device_types, schema=schema, tags=tags
        )
    op = CustomOpDef(*_split(name), schema)
    op.register_kernel(device_types, fn)
    return _put(op)


def register_fake(op, func=None, /, *, lib=None, _stacklevel=1, allow_override=False):
    """Decorator: how an operator (or its name) makes results without data, for tensors on the meta device.

    The operator may be defined later.
    """
    if func is None:
        return lambda f: register_fake(op, f)
    if isinstance(op, str) and _split(op)[1] not in _operators.get(_split(op)[0], ()):
        _early_fakes[op] = func
        return func
    return _find(op).register_fake(func)


def impl_abstract(qualname, func=None, *, lib=None, _stacklevel=1):
    """The older name of `register_fake`."""
    return register_fake(qualname, func, lib=lib, _stacklevel=_stacklevel)


def register_autograd(op, backward, /, *, setup_context=None, lib=None) -> None:
    """The derivative of an operator, or of the one of that name: see `CustomOpDef.register_autograd`."""
    _find(op).register_autograd(backward, setup_context=setup_context)


def register_kernel(op, device_types, func=None, /, *, lib=None):
    """Decorator: the function to call for tensors on kinds of devices."""
    return _find(op).register_kernel(device_types, func)


def register_autocast(op, device_type: str, cast_inputs, /, *, lib=None) -> None:
    """See `CustomOpDef.register_autocast`.

    >>> @flambeau.library.custom_op("docs::same", mutates_args=())
    ... def same(x: flambeau.Tensor) -> flambeau.Tensor:
    ...     return x.clone()
    >>> flambeau.library.register_autocast("docs::same", "cpu", flambeau.bfloat16)
    >>> with flambeau.autocast("cpu"):
    ...     same(flambeau.ones(2)).dtype
    torch.bfloat16
    """
    _own(op, "register_autocast").register_autocast(device_type, cast_inputs)


def register_vmap(op, func=None, /, *, lib=None):
    """Decorator: an operator's rule for `flambeau.vmap`. See `CustomOpDef.register_vmap`.

    >>> @flambeau.library.custom_op("docs::thrice", mutates_args=())
    ... def thrice(x: flambeau.Tensor) -> flambeau.Tensor:
    ...     return 3 * x
    >>> @flambeau.library.register_vmap("docs::thrice")
    ... def _(info, in_dims, x):
    ...     return thrice(x), in_dims[0]
    >>> flambeau.vmap(thrice)(flambeau.ones(2, 1))
    tensor([[3.],
            [3.]])
    """
    op = _own(op, "register_vmap")
    return op.register_vmap() if func is None else op.register_vmap(func)


def register_torch_dispatch(op, torch_dispatch_class, func=None, /, *, lib=None):
    """Decorator: what an operator does inside modes of a class. See `CustomOpDef.register_torch_dispatch`."""
    return _own(op, "register_torch_dispatch").register_torch_dispatch(torch_dispatch_class, func)


def _own(op, name: str) -> CustomOpDef:
    if not isinstance(op, (str, CustomOpDef)):
        raise ValueError(f"{name}({op}): got unexpected type for op: {type(op)}")
    return _find(op)


class _Kernel:
    """A function that an operator calls for tensors on a kind of device."""

    def __init__(self, name: str, kind: str, function):
        self._text, self._function = f"kernel of {name} for {kind}", function

    def call_boxed(self, keyset, *args, **kwargs):
        """Call it. The set of dispatch keys has no effect: nothing is dispatched any more."""
        return self._function(*args, **kwargs)

    def __repr__(self):
        return f"<{self._text}>"


def get_kernel(op, dispatch_key) -> _Kernel:
    """The function that an operator, one's own or one of ``torch.ops.aten``, calls for a dispatch key such as ``"CPU"``.

    Raises:
        RuntimeError: there is no such operator, or it has no function for the key.

    >>> kernel = flambeau.library.get_kernel("aten::add.Tensor", "CPU")
    >>> kernel.call_boxed(None, flambeau.ones(2), 1)
    tensor([2., 2.])
    """
    if not isinstance(op, (str, CustomOpDef, _aten.OpOverload)):
        raise ValueError(f"get_kernel({op}): got unexpected type for op: {type(op)}")
    key = dispatch_key if isinstance(dispatch_key, str) else dispatch_key.name
    if key not in _dispatch_keys.DispatchKey.__members__:
        raise ValueError(f"Invalid dispatch key: {key}")
    if isinstance(op, str):
        space, name = _split(op)
        overload = op.partition(".")[2]
        try:
            op = getattr(getattr(ops, space), name)
            op = getattr(op, overload) if overload else op
        except AttributeError:
            raise RuntimeError(f"operator {op} does not exist") from None
    if isinstance(op, CustomOpDef):
        function = op._fake if key == "Meta" else op._kernels.get(key.lower()) or op._kernels.get("")
    else:
        function = op if key in ("CPU", "Meta") else None
    if function is None:
        raise RuntimeError(f"get_kernel: {op} has no kernel for {key}")
    return _Kernel(str(op), key, function)


def get_ctx():
    """Only tracing with sizes that depend on data has such a context."""
    raise RuntimeError(
        "torch.library.get_ctx: flambeau traces no programs; make the result's true size instead"
    )


def fallthrough_kernel():
    """As a kernel: "not mine". It is not called here."""
    raise NotImplementedError("fallthrough_kernel() should never be called.")


def infer_schema(prototype_function, /, *, mutates_args, op_name: str | None = None, tags=()) -> str:
    """A signature as text, from the annotations of a function of tensors, numbers and strings; tags do not show in it.

    >>> def f(x: flambeau.Tensor, n: int = 2) -> flambeau.Tensor: ...
    >>> flambeau.library.infer_schema(f, mutates_args=())
    '(Tensor x, SymInt n=2) -> Tensor'
    """
    import typing

    names = {
        flambeau.Tensor: "Tensor",
        int: "SymInt",
        float: "float",
        bool: "bool",
        str: "str",
        types.NoneType: "()",
    }
    hints = typing.get_type_hints(prototype_function)
    writes = iter("abcdefghijklmnopqrstuvwxyz")

    def text(hint, name: str) -> str:
        if hint in names:
            mutated = hint is flambeau.Tensor and mutates_args != "unknown" and name in mutates_args
            return f"Tensor({next(writes)}!)" if mutated else names[hint]
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType) and types.NoneType in arguments and len(arguments) == 2:
            return text(next(each for each in arguments if each is not types.NoneType), name) + "?"
        if origin is not None and issubclass(origin, (list, tuple, typing.Sequence)) and name != "return":
            return text(arguments[0], name) + "[]"
        if origin is tuple:
            return f"({', '.join(text(each, name) for each in arguments)})"
        if origin is list:
            return text(arguments[0], name) + "[]"
        raise ValueError(f"infer_schema(func): parameter {name} has unsupported type {hint}")

    parts, keyword_only = [], False
    for name, parameter in inspect.signature(prototype_function).parameters.items():
        if name not in hints:
            raise ValueError(f"infer_schema(func): parameter {name} must have a type annotation")
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            parts.append("*")
        part = f"{text(hints[name], name)} {name}"
        if parameter.default is not parameter.empty:
            default = f'"{parameter.default}"' if isinstance(parameter.default, str) else parameter.default
            part += f"={default}"
        parts.append(part)
    result = text(hints.get("return", types.NoneType), "return")
    return f"{op_name or ''}({', '.join(parts)}) -> {result}"


class Library:
    """Operators of a namespace, defined by signature and function.

    Args:
        ns: the namespace.
        kind: ``"DEF"`` or ``"FRAGMENT"`` to define operators, ``"IMPL"`` to give functions for them.
        dispatch_key: the key that `impl` uses if none is given.
    """

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        if kind not in ("DEF", "FRAGMENT", "IMPL"):
            raise ValueError(f"Unsupported kind: {kind}")
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key
        self._given: set[tuple[str, str]] = set()  # (operator, key) of each function that `impl` gave

    def define(self, schema: str, alias_analysis: str = "", *, tags=()) -> str:
        """Define an operator by its signature, such as ``"twice(Tensor x) -> Tensor"``; returns its name."""
        name = schema.partition("(")[0].strip()
        if not name or "(" not in schema or "->" not in schema:
            raise RuntimeError(f"{schema!r} is no signature: expected NAME(ARGUMENTS) -> RESULTS")
        _put(CustomOpDef(*_split(f"{self.ns}::{name}"), schema))
        return name

    def impl(self, op_name, fn, dispatch_key: str = "", *, with_keyset=False, allow_override=True) -> None:
        """Give an operator its function for a kind of device ("CPU", "Meta", "CompositeImplicitAutograd" ...).

        Raises:
            RuntimeError: the library gave it one before, and `allow_override` is False.
        """
        name = op_name if isinstance(op_name, str) else op_name._name
        key = (name.rpartition("::")[2], (dispatch_key or self.dispatch_key).lower())
        if key in self._given and not allow_override:
            raise RuntimeError(
                "This is not allowed since there's already a kernel registered from python overriding "
                f"{key[0]}'s behavior for {dispatch_key or self.dispatch_key} dispatch key and {self.ns} namespace."
            )
        self._given.add(key)
        impl(name if "::" in name else f"{self.ns}::{name}", dispatch_key or self.dispatch_key, fn)


def define(qualname: str, schema: str, *, lib=None, tags=()) -> None:
    """Define an operator by its name and signature, such as ``"(Tensor x) -> Tensor"``."""
    _put(CustomOpDef(*_split(qualname), schema))


def impl(qualname: str, types, func=None, *, lib=None):
    """Decorator: an operator's function for kinds of devices ("cpu", "meta", "default"), or for a dispatch key."""
    if func is None:
        return lambda f: impl(qualname, types, f, lib=lib)
    op = _find(qualname)
    for kind in [types] if isinstance(types, str) else types:
        key = kind.lower()
        if key == "meta":
            op.register_fake(func)
        elif key in ("", "compositeimplicitautograd"):
            op._composite = func
        elif key in ("default", "compositeexplicitautograd"):
            op.register_kernel(None, func)
        elif key.startswith("autograd"):
            raise RuntimeError(
                f"impl: {qualname}: a derivative is given by torch.library.register_autograd here, not by the key {kind!r}"
            )
        else:
            op.register_kernel(key, func)
    return func


class _Namespace:
    """``torch.ops.NAMESPACE``: the operators that programs have defined in it; in ``aten`` the library's own."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str):
        try:
            return _operators[self._name][name]
        except KeyError:
            own = self._name == "aten" and _aten.find(name)
            if own:
                return own
            raise AttributeError(f"'_OpNamespace' '{self._name}' object has no attribute '{name}'") from None

    def __dir__(self):
        return sorted(_operators.get(self._name, ()))

    def __repr__(self):
        return f"<operators of torch.ops.{self._name}>"


class _Operators:
    """``torch.ops``: namespaces of operators that programs have defined."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        namespace = _Namespace(name)
        setattr(self, name, namespace)
        return namespace

    def load_library(self, path) -> None:
        """Raises: a library compiled for PyTorch's own binary interface cannot be used here."""
        raise OSError(
            f"torch.ops.load_library: {path} is compiled for PyTorch's binary interface, which flambeau hasn't"
        )


class _Classes:
    """``torch.classes``: classes that compiled libraries bring, of which there are none."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(
            f"Tried to use class '{name}', but it does not exist: libraries compiled for PyTorch cannot be loaded here"
        )

    def load_library(self, path) -> None:
        """Raises, as `torch.ops.load_library` does."""
        ops.load_library(path)


ops = _Operators()
classes = _Classes()
