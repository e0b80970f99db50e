"""What is called: every native operator in all its forms, and the ways into the core that are not operators."""

import flambeau
from flambeau._ops import registry

from .arguments import FLOATS, HUGE_INTS, SMALL_INTS, WRONG, Maker, Number, parameters


class Target:
    """`make(random)` gives (args, kwargs); `call(*args, **kwargs)` runs; `writes(args, kwargs)` are written tensors."""

    def __init__(self, name, call, make, writes):
        self.name, self.call, self.make, self.writes = name, call, make, writes


#: Operators that write lists of tensors: the positions of these.
WRITTEN_LISTS = {"sgd_step": (0, 2), "adam_step": (0, 2, 3, 4, 5)}


def _operator(name, op, inplace):
    names = [p.name for p in parameters(op.signature)]

    def make(random):
        return Maker(random).call(op.signature)

    def writes(args, kwargs):
        given = dict(zip(names, args, strict=False)) | kwargs
        written = given.get("out")
        written = list(written) if isinstance(written, (list, tuple)) else [written]
        if inplace:
            written.append(given.get(names[0]))
        for i in WRITTEN_LISTS.get(name, ()):
            tensors = given.get(names[i])
            written += tensors if isinstance(tensors, (list, tuple)) else []
        return [t for t in written if isinstance(t, flambeau.Tensor)]

    return Target(name, op, make, writes)


def _key(maker):
    """x[key]: integers, slices, masks, lists, and what is none of these."""
    r = maker.random

    def part():
        what = r.random()
        if what < 0.25:
            return r.choice(SMALL_INTS)
        if what < 0.5:
            ends = [None, None, *SMALL_INTS, *HUGE_INTS[:8]]
            return slice(
                r.choice(ends), r.choice(ends), r.choice([None, None, 1, 2, 3, -1, 0, 2**62, 2**63 - 1])
            )
        if what < 0.7:
            return maker.index()
        if what < 0.8:
            return [r.choice(SMALL_INTS) for _ in range(r.choice([0, 1, 2, 3]))]
        if what < 0.85:
            return r.choice([None, ..., True, False])
        if what < 0.9:
            return r.choice(HUGE_INTS)
        return r.choice([*WRONG, Number(1), range(2), maker.tensor(dtype=flambeau.bool)])

    return part() if r.random() < 0.5 else tuple(part() for _ in range(r.choice([0, 1, 2, 2, 3, 5])))


def _value(maker):
    r = maker.random
    return r.choice([maker.tensor(), maker.scalar(), [1, 2], [[1.0]], "x", None, maker.scalar()])


def _nested(r, depth=0):
    if depth > 4 or r.random() < 0.3:
        return r.choice(
            [
                1,
                2.5,
                True,
                1j,
                2**70,
                "a",
                None,
                Number(3),
                flambeau._C.tensor_from_data(1),
                flambeau.ones(2),
                *FLOATS,
            ]
        )
    return [_nested(r, depth + 1) for _ in range(r.choice([0, 1, 2, 2]))]


def _set_item(t, key, value):
    t[key] = value


def _extras():
    """name -> (call, make arguments from a Maker, positions of written arguments)"""
    return {
        "Tensor.__getitem__": (lambda t, key: t[key], lambda m: (m.tensor(shape=m.shape), _key(m)), ()),
        "Tensor.__setitem__": (_set_item, lambda m: (m.tensor(shape=m.shape), _key(m), _value(m)), (0,)),
        "tensor_from_data": (flambeau._C.tensor_from_data, lambda m: (_nested(m.random),), ()),
        "Tensor.tolist": (flambeau.Tensor.tolist, lambda m: (m.tensor(),), ()),
        "Tensor.item": (flambeau.Tensor.item, lambda m: (m.tensor(),), ()),
        "repr": (repr, lambda m: (m.tensor(),), ()),
        "bool": (bool, lambda m: (m.tensor(),), ()),
        "int": (int, lambda m: (m.tensor(),), ()),
        "float": (float, lambda m: (m.tensor(),), ()),
        "len": (len, lambda m: (m.tensor(),), ()),
        "list": (list, lambda m: (m.tensor(),), ()),
    }


def targets():
    """Every target by name."""
    found = {}
    for name, record in registry.records.items():
        found[name] = _operator(name, record.op, name.partition(".")[0].endswith("_"))
    for name, op in registry.inplace_records.items():
        found[name] = _operator(name, op, True)
    for name, (call, make, written) in _extras().items():
        found[name] = Target(
            name,
            call,
            lambda random, make=make: (list(make(Maker(random))), {}),
            lambda args, kwargs, written=written: [args[i] for i in written],
        )
    return found
