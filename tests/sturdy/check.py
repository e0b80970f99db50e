"""One call, and what it may and may not have changed."""

import random
import warnings
import zlib

import flambeau

from .arguments import describe

#: An operator that refuses raises one of these. SystemError and MemoryError never: the first is a broken promise to
#: the interpreter, the second not what PyTorch raises.
REFUSALS = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    NotImplementedError,
    OverflowError,
    KeyError,
    BufferError,
)


#: Bytes of a storage that grew too large to be compared.
LARGE = 1 << 26


class Fault(AssertionError):
    """A call broke a promise."""


def case_random(name, case):
    """The source of all randomness of one case."""
    return random.Random(zlib.crc32(name.encode()) * 1_000_003 + case)


def _tensors(value, depth=0):
    if isinstance(value, flambeau.Tensor):
        yield value
    elif isinstance(value, (list, tuple)) and depth < 3:
        for v in value:
            yield from _tensors(v, depth + 1)


def _window(t):
    return (tuple(t.shape), tuple(t.stride()), t.storage_offset(), t.dtype, t.itemsize)


def _bytes_of(window, limit):
    """Positions of the bytes that a window covers; None for one too large to list."""
    shape, strides, offset, _, width = window
    places = [offset]
    for size, stride in zip(shape, strides, strict=True):
        if size == 0:
            return set()
        if size > 1 and len(places) * size > 100_000:
            return None
        places = [p + i * stride for p in places for i in range(size)]
    return {b for p in places for b in range(p * width, (p + 1) * width) if b < limit}


class Before:
    """All that the arguments hold, before the call."""

    def __init__(self, args, kwargs, written):
        self.tensors = list({id(t): t for t in _tensors([*args, *kwargs.values()])}.values())
        self.written = written
        self.windows = [_window(t) for t in self.tensors]
        self.versions = [t._version for t in self.tensors]
        self.storages = {}
        for t in self.tensors:
            storage = t.untyped_storage()
            if storage._cdata not in self.storages:
                self.storages[storage._cdata] = (storage, b"" if t.is_meta else bytes(storage))
        self.written_windows = [(t, _window(t)) for t in written]
        self.sound = all(_is_inside(t) for t in self.tensors)

    def compare(self, failed):
        written_storages = {t.untyped_storage()._cdata for t in self.written}
        for t, window, version in zip(self.tensors, self.windows, self.versions, strict=True):
            if any(t is w for w in self.written) and not failed:
                continue
            if _window(t) != window and not any(t is w for w in self.written):
                raise Fault(f"an argument that is not written changed from {window} to {_window(t)}")
            if t._version != version and t.untyped_storage()._cdata not in written_storages:
                raise Fault("the version of an argument that is not written changed")
        for identity, (storage, old) in self.storages.items():
            if storage.device.type == "meta" or len(storage) > LARGE:
                continue
            new = bytes(storage)
            if new[: len(old)] == old and len(new) == len(old):
                continue
            if identity not in written_storages:
                raise Fault("memory of an argument that is not written changed")
            allowed = set()
            for t, window in self.written_windows:
                if t.untyped_storage()._cdata == identity:
                    for w in (window, _window(t)):
                        places = _bytes_of(w, len(new))
                        if places is None:
                            return
                        allowed |= places
            # A growing storage is new memory beyond the old end.
            changed = [i for i in range(min(len(old), len(new))) if old[i] != new[i]]
            outside = [i for i in changed if i not in allowed]
            if outside:
                raise Fault(f"bytes {outside[:8]} outside the written window changed")
            if failed and changed:
                raise Fault(f"the call failed, but bytes {changed[:8]} of what it would have written changed")


def _is_inside(t):
    shape, strides, offset, _, width = _window(t)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    return 0 in shape or (last + 1) * width <= len(t.untyped_storage())


def _examine(result):
    """A result must be a sound tensor: its window inside its storage, its numbers consistent, its data readable."""
    for t in _tensors(result):
        shape, strides, offset, _, _ = _window(t)
        numel = 1
        for n in shape:
            numel *= n
        if numel != t.numel():
            raise Fault(f"a result of shape {shape} says it has {t.numel()} elements")
        if not _is_inside(t) or (numel and (offset < 0 or min(strides, default=0) < 0)):
            raise Fault(
                f"a result's window {_window(t)} leaves its storage of {len(t.untyped_storage())} bytes"
            )
        if not t.is_meta and numel < 100_000:
            t.detach().clone()


def _backward(result):
    outputs = [t for t in _tensors(result) if t.requires_grad and t.numel() < 10_000]
    if outputs:
        flambeau.autograd.backward(outputs, [flambeau.ones_like(t) for t in outputs])


def run(target, case):
    """Makes the case's arguments and calls. Returns "ok" or the exception's name; raises Fault."""
    r = case_random(target.name, case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args, kwargs = target.make(r)
        before = Before(args, kwargs, target.writes(args, kwargs))
        flambeau.manual_seed(case)
        result, failed = None, None
        try:
            result = target.call(*args, **kwargs)
        except REFUSALS as e:
            failed = e
        except AssertionError as e:
            # PyTorch's type for a device that a build does not have.
            if "not compiled with" not in str(e):
                raise Fault(f"raised {type(e).__name__}: {e}") from e
            failed = e
        except Exception as e:
            raise Fault(f"raised {type(e).__name__}: {e}") from e
        before.compare(failed is not None)
        if failed is not None:
            return type(failed).__name__
        try:
            if before.sound:
                _examine(result)
            _backward(result)
        except REFUSALS as e:
            return "then " + type(e).__name__
        except Fault:
            raise
        except Exception as e:
            raise Fault(f"then, reading it or going backward, raised {type(e).__name__}: {e}") from e
    return "ok"


def report(target, case):
    """The case's arguments in words, without calling."""
    args, kwargs = target.make(case_random(target.name, case))
    parts = [describe(a) for a in args] + [f"{k}={describe(v)}" for k, v in kwargs.items()]
    return f"{target.name}({', '.join(parts)})"
