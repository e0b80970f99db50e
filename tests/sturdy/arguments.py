"""Arguments from a signature: mostly plausible, sometimes strange, and always the same for the same seed."""

import re

import flambeau
from flambeau._dtypes_info import STORED_ONLY

DTYPES = [
    flambeau.bool, flambeau.uint8, flambeau.int8, flambeau.int16, flambeau.int32, flambeau.int64, flambeau.uint16,
    flambeau.uint32, flambeau.uint64, flambeau.float16, flambeau.bfloat16, flambeau.float32, flambeau.float64,
    flambeau.complex32, flambeau.complex64, flambeau.complex128, flambeau.float8_e4m3fn, flambeau.float8_e5m2,
    flambeau.float8_e8m0fnu, flambeau.float4_e2m1fn_x2, flambeau.bits16, flambeau.uint4,
]  # fmt: skip
COMMON_DTYPES = [flambeau.float32, flambeau.float64, flambeau.int64, flambeau.bool, flambeau.complex64]
SHAPES = [
    (), (0,), (1,), (2,), (3,), (7,), (0, 3), (3, 0), (1, 1), (2, 3), (3, 2), (3, 3), (1, 3), (5, 1), (2, 3, 4),
    (4, 1, 3), (0, 0, 2), (2, 2, 2, 2), (1, 2, 3, 3), (2, 3, 5, 5), (2, 1, 2, 1, 2), (1, 2, 1, 2, 1, 2), (1,) * 8,
    (1,) * 26, (2,) * 7, (1,) * 64, (33,), (600,), (17, 40),
]  # fmt: skip
SMALL_INTS = [-3, -2, -1, 0, 1, 2, 3, 4, 7]
HUGE_INTS = [
    2**31 - 1,
    2**31,
    2**32,
    -(2**31),
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64,
    -(2**70),
    63,
    64,
    65,
    100,
]
FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    1e-300,
    1e300,
    float("inf"),
    float("-inf"),
    float("nan"),
    2.5,
    -7.25,
]
WORDS = [
    "", "sum", "mean", "prod", "amax", "amin", "add", "multiply", "none", "floor", "trunc", "linear", "lower", "upper",
    "left", "right", "constant", "reflect", "valid", "same", "ij", "\ud800", "\0", "none\0", "tanh",
]  # fmt: skip


class Number:
    """Not an int, but usable as one."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value

    def __float__(self):
        return float(self.value)


class Refuses:
    def __index__(self):
        raise KeyError("refused")

    __float__ = __len__ = __iter__ = __bool__ = __index__


WRONG = [None, "text", b"bytes", 1j, 3, -1, 2.5, True, (), [], {}, [[1]], (1, "a"), object, Refuses(), Number(1), ...,
         slice(None), flambeau.float32, [None], (None, None), float("nan"), 2**70]  # fmt: skip


class Parameter:
    __slots__ = ("name", "kind", "optional", "length", "keyword", "required")

    def __repr__(self):
        return f"{self.kind}{'?' if self.optional else ''} {self.name}"


def parameters(signature):
    """The parameters of a record's signature, in order."""
    inside = signature[signature.index("(") + 1 : signature.split("->")[0].rstrip().rindex(")")]
    found, keyword = [], False
    for part in re.split(r",\s*(?![^()\[\]]*[)\]])", inside):
        part = part.strip()
        if not part or part == "*":
            keyword |= part == "*"
            continue
        p = Parameter()
        declared, _, default = part.partition("=")
        kind, p.name = declared.strip().rsplit(" ", 1)
        kind = kind.strip()
        p.optional = kind.endswith("?")
        kind = kind.rstrip("?")
        sized = re.fullmatch(r"(\w+)\[(\d+)\]", kind)
        p.length = int(sized.group(2)) if sized else 0
        p.kind = sized.group(1) + "[]" if sized else kind
        p.keyword = keyword
        p.required = not default
        found.append(p)
    return found


class Maker:
    """Makes the arguments of one call. `random` decides everything."""

    def __init__(self, random):
        self.random = random
        self.shape = random.choice(SHAPES)
        self.dtype = random.choice(COMMON_DTYPES if random.random() < 0.6 else DTYPES)
        self.meta = random.random() < 0.05
        # How strange the call is: some are meant to succeed, so that kernels are reached.
        self.strange = random.choice([0.0, 0.02, 0.08, 0.25])
        self.made = []

    def odd(self, scale=1.0):
        return self.random.random() < self.strange * scale

    # --- tensors

    def near_shape(self):
        """The call's shape, or one that broadcasts with it, or one that is off by something."""
        r, shape = self.random, list(self.shape)
        what = r.random()
        if what < 0.6 or not shape:
            pass
        elif what < 0.75:
            shape[r.randrange(len(shape))] = 1
        elif what < 0.85:
            del shape[0]
        elif what < 0.9 and len(shape) < 64:
            shape.insert(0, r.choice([1, 2]))
        elif what < 0.95:
            shape[r.randrange(len(shape))] = r.choice([0, 1, 2, 3, 5])
        else:
            shape = list(r.choice(SHAPES))
        return tuple(shape)

    def values(self, shape, dtype):
        r = self.random
        if self.meta and not self.odd():
            return flambeau.empty(shape, dtype=dtype, device="meta")
        count = 1
        for n in shape:
            count *= n
        special = r.random() < 0.15
        if str(dtype).rpartition(".")[2] in STORED_ONLY:
            data = [r.randrange(256) for _ in range(count * dtype.itemsize)]
            return flambeau._C.tensor_from_data(data, flambeau.uint8).view(dtype).reshape(shape)
        if dtype.is_complex:
            data = [
                complex(r.choice(FLOATS) if special else r.gauss(0, 2), r.gauss(0, 2)) for _ in range(count)
            ]
        elif dtype.is_floating_point:
            data = [r.choice(FLOATS) if special else r.gauss(0, 2) for _ in range(count)]
        elif dtype == flambeau.bool:
            data = [r.random() < 0.5 for _ in range(count)]
        else:
            info = flambeau.iinfo(dtype)
            choices = [info.min, info.max, 0, 1, info.max - 1, info.min + 1]
            low = max(info.min, -4)
            data = [r.choice(choices) if special else r.randint(low, 5) for _ in range(count)]
        return flambeau._C.tensor_from_data(data, dtype).reshape(shape)

    def tensor(self, shape=None, dtype=None):
        r = self.random
        if self.made and r.random() < 0.08:
            return r.choice(self.made)
        if shape is None:
            shape = self.near_shape()
        if dtype is None:
            dtype = self.dtype if r.random() < 0.8 else r.choice(DTYPES)
        t = self.layout(shape, dtype)
        if r.random() < 0.2 and (dtype.is_floating_point or dtype.is_complex):
            t = t.detach().requires_grad_() if r.random() < 0.5 else t.detach().requires_grad_().view_as(t)
        if self.odd(0.5):
            # The memory goes away under the tensor.
            storage = t.untyped_storage()
            if storage.resizable():
                storage.resize_(r.choice([0, max(0, len(storage) - 1), len(storage) // 2]))
        self.made.append(t)
        return t

    def layout(self, shape, dtype):
        """A tensor of the shape, in one of the ways it can lie in memory."""
        t, r = self.placed(shape, dtype), self.random
        if r.random() < 0.04 and not t.is_meta:
            # The stride of one element, or of none, may be any number.
            huge = [2**40] if 0 in shape else [2**63 - 1, 2**62, 2**40, 0]
            free = [n == 1 or 0 in shape for n in shape]
            strides = [r.choice(huge) if f else s for f, s in zip(free, t.stride(), strict=True)]
            t = t.as_strided(shape, strides)
        return t

    def placed(self, shape, dtype):
        r = self.random
        way = r.random()
        n = len(shape)
        if way < 0.45 or n == 0 or n > 7 or self.meta:
            if way > 0.9 and n == 0 and not self.meta:
                return self.values((3,), dtype)[1]
            return self.values(shape, dtype)
        if way < 0.6:
            order = list(range(n))
            r.shuffle(order)
            back = [order.index(d) for d in range(n)]
            return self.values([shape[d] for d in order], dtype).permute(back)
        if way < 0.75:
            steps = [r.choice([1, 1, 2, 3]) for _ in shape]
            starts = [r.choice([0, 0, 1]) for _ in shape]
            whole = [start + size * step for start, size, step in zip(starts, shape, steps, strict=True)]
            keys = tuple(slice(b, b + s * k, k) for b, s, k in zip(starts, shape, steps, strict=True))
            return self.values(whole, dtype)[keys]
        if way < 0.87:
            small = [1 if r.random() < 0.5 else size for size in shape]
            return self.values(small, dtype).expand(shape)
        # Any window of a small storage, overlaps included.
        strides = [r.choice([0, 1, 1, 2, 3]) for _ in shape]
        start = r.choice([0, 0, 1, 5])
        reach = (
            start + 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True) if size)
        )
        return self.values((reach + r.choice([0, 2]),), dtype).as_strided(shape, strides, start)

    def out(self):
        """A window, the result's shape or not, in a storage that has more."""
        r = self.random
        if self.made and self.odd(2):
            base = r.choice(self.made)
            return base.detach() if r.random() < 0.7 else base
        dtype = self.dtype if r.random() < 0.6 else r.choice(DTYPES)
        if r.random() < 0.25:
            return flambeau.empty(0, dtype=dtype)
        t = self.layout(self.near_shape(), dtype)
        return t

    def index(self):
        """Positions, sometimes outside."""
        r = self.random
        dtype = r.choice(
            [flambeau.int64, flambeau.int64, flambeau.int64, flambeau.int32, flambeau.bool, flambeau.uint8]
        )
        shape = self.near_shape() if r.random() < 0.5 else r.choice([(), (0,), (1,), (2,), (3,), (2, 3)])
        if dtype == flambeau.bool or self.meta:
            return self.values(shape, dtype)
        limit = max([1, *self.shape]) if r.random() < 0.3 else max(1, min([s for s in self.shape] or [1]))
        count = 1
        for n in shape:
            count *= n
        limit = min(limit, 200)
        low = -limit if r.random() < 0.2 and dtype != flambeau.uint8 else 0
        data = [r.randint(low, limit - 1) for _ in range(count)]
        if self.odd(2) and data:
            bad = [limit, 255] if dtype == flambeau.uint8 else [limit, -limit - 1, 2**31 - 1, -(2**31)]
            if dtype == flambeau.int64:
                bad += [2**63 - 1, -(2**63), 2**40]
            data[r.randrange(count)] = r.choice(bad)
        return flambeau._C.tensor_from_data(data, dtype).reshape(shape)

    # --- everything else

    def integer(self, name):
        r = self.random
        if self.odd(2):
            return r.choice(HUGE_INTS)
        if "dim" in name:
            n = len(self.shape)
            return r.randint(-n, n - 1) if n and r.random() < 0.9 else r.choice(SMALL_INTS)
        return r.choice(SMALL_INTS)

    def integers(self, name, length):
        r = self.random
        if length and r.random() < 0.3:
            return self.integer(name)
        if "dim" in name:
            dims = list(range(len(self.shape)))
            r.shuffle(dims)
            count = len(dims) if r.random() < 0.5 else r.randint(0, len(dims))
            out = [d - len(dims) if r.random() < 0.3 else d for d in dims[:count]]
        elif "size" in name or "shape" in name:
            out = list(self.near_shape())
            if out and r.random() < 0.1:
                out[r.randrange(len(out))] = -1
        else:
            n = length or len(self.shape)
            out = [r.choice([0, 1, 1, 2, 2, 3, -1]) for _ in range(n)]
        for i in range(len(out)):
            if self.odd():
                out[i] = self.integer(name)
        if self.odd():
            out = out + out
        if self.odd():
            out = [Number(v) for v in out]
        return tuple(out) if r.random() < 0.7 else out

    def scalar(self):
        r = self.random
        what = r.random()
        if what < 0.4:
            return r.choice(SMALL_INTS)
        if what < 0.7:
            return r.choice(FLOATS)
        if what < 0.8:
            return r.random() < 0.5
        if what < 0.87:
            return r.choice(HUGE_INTS)
        if what < 0.95:
            return complex(r.choice(FLOATS), r.choice(FLOATS))
        return self.tensor(shape=())

    def argument(self, p, first):
        r = self.random
        if self.odd():
            return r.choice(WRONG)
        if p.optional and r.random() < 0.3:
            return None
        kind, name = p.kind, p.name
        if kind == "Tensor":
            if name == "out":
                return self.out()
            if name in ("index", "indices", "batch1_index") or name.startswith("index"):
                return self.index() if r.random() < 0.9 else self.tensor()
            if name in ("mask", "condition"):
                return self.tensor(dtype=flambeau.bool) if r.random() < 0.9 else self.tensor()
            return self.tensor(shape=self.shape if first else None)
        if kind == "Operand":
            return self.tensor() if r.random() < 0.7 else self.scalar()
        if kind == "Tensor[]":
            if name == "out":
                return [self.out() for _ in range(r.choice([1, 2, 2, 3]))]
            items = [
                self.tensor() if r.random() < 0.4 else self.tensor(shape=self.shape)
                for _ in range(r.choice([0, 1, 2, 2, 3]))
            ]
            if self.odd():
                items.append(r.choice(WRONG))
            return items if r.random() < 0.5 else tuple(items)
        if kind == "Tensor?[]":
            items = [
                None if r.random() < 0.3 else self.index()
                for _ in range(r.randint(0, max(1, len(self.shape))))
            ]
            return items if r.random() < 0.5 else tuple(items)
        if kind == "Scalar":
            return self.scalar()
        if kind == "int":
            return (
                self.integer(name)
                if r.random() < 0.95
                else r.choice([Number(self.integer(name)), flambeau._C.tensor_from_data(1)])
            )
        if kind == "int[]":
            return self.integers(name, p.length)
        if kind == "float":
            return r.choice(FLOATS)
        if kind == "float[]":
            return [r.choice(FLOATS) for _ in range(r.choice([0, 1, 2, 3, p.length]))]
        if kind == "bool":
            return r.random() < 0.5
        if kind == "str":
            return r.choice(WORDS)
        if kind == "dtype":
            return r.choice(DTYPES)
        if kind == "layout":
            return flambeau.strided
        if kind == "device":
            return r.choice(["cpu", "cpu", "cpu", "meta", "cuda", "nonsense", "cpu:0", "cpu:99999999999"])
        if kind == "memory_format":
            return r.choice(
                [
                    flambeau.contiguous_format,
                    flambeau.preserve_format,
                    flambeau.channels_last,
                    flambeau.channels_last_3d,
                ]
            )
        if kind == "Generator":
            return flambeau.Generator()
        return r.choice(WRONG) if r.random() < 0.3 else self.tensor()

    def call(self, signature):
        """(positional, keyword) arguments for one call."""
        r = self.random
        args, kwargs = [], {}
        position = True
        for i, p in enumerate(parameters(signature)):
            if not p.required and r.random() < 0.5:
                position = False
                continue
            if p.required and self.odd(0.1):
                continue
            value = self.argument(p, first=i == 0)
            if (
                p.name == "out"
                and value is not None
                and r.random() < 0.15
                and isinstance(value, flambeau.Tensor)
            ):
                value = (value, self.out())
            position &= not p.keyword and not (self.odd(0.5) and i)
            if position:
                args.append(value)
            else:
                kwargs[p.name] = value
        if self.odd(0.2):
            kwargs[r.choice(["nonsense", "out", "\ud800", "dim", "axis"])] = r.choice(WRONG)
        return args, kwargs


def describe(value):
    """An argument in words: for the report of a failure, so nothing here may touch a tensor's data."""
    if isinstance(value, flambeau.Tensor):
        name = str(value.dtype).rpartition(".")[2]
        text = f"{name}{list(value.shape)}"
        if not value.is_contiguous() or value.storage_offset():
            text += f" strides {list(value.stride())} offset {value.storage_offset()}"
        text += f" of {len(value.untyped_storage())} bytes"
        return text + (" meta" if value.is_meta else "") + (" requires_grad" if value.requires_grad else "")
    if isinstance(value, (list, tuple)):
        body = ", ".join(map(describe, value))
        return f"[{body}]" if isinstance(value, list) else f"({body})"
    if isinstance(value, dict):
        return ", ".join(f"{k!r}: {describe(v)}" for k, v in value.items())
    return repr(value)
