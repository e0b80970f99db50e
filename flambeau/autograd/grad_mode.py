"""Context managers and decorators that switch recording on and off, for the current thread."""

from .. import _C

__all__ = ["enable_grad", "inference_mode", "no_grad", "set_grad_enabled", "set_multithreading_enabled"]


def _wrap_generator(context_of, function):
    """The mode holds while the generator runs, and not while its caller does."""
    from functools import wraps

    @wraps(function)
    def wrapper(*args, **kwargs):
        generator = function(*args, **kwargs)
        try:
            with context_of():
                value = generator.send(None)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    with context_of():
                        generator.close()
                    raise
                except BaseException as error:
                    with context_of():
                        value = generator.throw(error)
                else:
                    with context_of():
                        value = generator.send(sent)
        except StopIteration as stop:
            return stop.value

    return wrapper


def _is_generator_function(function):
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & 0x20)  # CO_GENERATOR


def _decorate(context_of, function):
    from functools import wraps

    if isinstance(function, type):
        import warnings

        warnings.warn(
            f"Decorating classes is deprecated and will be disabled in future versions. You should only decorate "
            f"functions or methods. To preserve the current behavior of class decoration, you can directly decorate the "
            f"`__init__` method and nothing else. ({function.__name__})",
            FutureWarning,
            stacklevel=3,
        )
        init = function.__init__
        function.__init__ = _decorate(context_of, init)
        return function
    if _is_generator_function(function):
        return _wrap_generator(context_of, function)

    @wraps(function)
    def wrapper(*args, **kwargs):
        with context_of():
            return function(*args, **kwargs)

    return wrapper


class _Decorator:
    """A context manager that also decorates functions, generators and (deprecated) classes."""

    def __call__(self, function):
        return _decorate(self.clone, function)

    def clone(self):
        return type(self)()


class _OptionalArguments(_Decorator):
    """`@mode` and `@mode()` are the same."""

    def __new__(cls, function=None):
        if function is None:
            return super().__new__(cls)
        return cls()(function)


class no_grad(_OptionalArguments):
    """Nothing that runs inside is recorded: results have requires_grad=False.

    >>> x = flambeau.ones(2, requires_grad=True)
    >>> with flambeau.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self):
        self.prev = False

    def __enter__(self):
        self.prev = _C.is_grad_enabled()
        _C._set_grad_enabled(False)

    def __exit__(self, *exc):
        _C._set_grad_enabled(self.prev)


class enable_grad(_OptionalArguments):
    """Recording is on inside, also within `no_grad`.

    >>> x = flambeau.ones(2, requires_grad=True)
    >>> with flambeau.no_grad(), flambeau.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """

    def __new__(cls, orig_func=None):
        return super().__new__(cls, orig_func)

    def __enter__(self):
        self.prev = _C.is_grad_enabled()
        _C._set_grad_enabled(True)

    def __exit__(self, *exc):
        _C._set_grad_enabled(self.prev)


class set_grad_enabled(_Decorator):
    """Switches recording to `mode`: from the call on, or inside a `with`, or for the decorated function.

    >>> with flambeau.set_grad_enabled(False):
    ...     flambeau.is_grad_enabled()
    False
    """

    def __init__(self, mode):
        self.prev = _C.is_grad_enabled()
        self.mode = mode
        _C._set_grad_enabled(mode)

    def __call__(self, function):
        _C._set_grad_enabled(self.prev)
        return super().__call__(function)

    def __enter__(self):
        _C._set_grad_enabled(self.mode)

    def __exit__(self, *exc):
        _C._set_grad_enabled(self.prev)

    def __str__(self):
        return f"torch.set_grad_enabled(mode={self.mode})"

    __repr__ = __str__

    def clone(self):
        return type(self)(self.mode)


class inference_mode(_Decorator):
    """Like `no_grad`, and tensors made inside can never take part in recording: no versions, no view tracking.

    mode: False switches inference mode off inside.

    >>> with flambeau.inference_mode():
    ...     x = flambeau.ones(2)
    >>> x.is_inference()
    True
    """

    def __new__(cls, mode=True):
        if isinstance(mode, bool):
            return super().__new__(cls)
        return cls()(mode)

    def __init__(self, mode=True):
        self.mode = mode

    def __enter__(self):
        self.prev = (_C.is_inference_mode_enabled(), _C.is_grad_enabled())
        _C._set_inference_mode(self.mode)
        _C._set_grad_enabled(not self.mode)

    def __exit__(self, *exc):
        _C._set_inference_mode(self.prev[0])
        _C._set_grad_enabled(self.prev[1])

    def clone(self):
        return type(self)(self.mode)


class set_multithreading_enabled(_Decorator):
    """Accepted for compatibility: a backward pass runs on the thread that called it."""

    def __init__(self, mode):
        self.prev = _C._is_multithreading_enabled()
        self.mode = mode
        _C._set_multithreading_enabled(mode)

    def __enter__(self):
        _C._set_multithreading_enabled(self.mode)

    def __exit__(self, *exc):
        _C._set_multithreading_enabled(self.prev)

    def clone(self):
        return type(self)(self.mode)
