"""Parameters of operators, read from their signatures."""

from .._ops.registry import inplace_records, records

_names = {}
_by_op = {}


def names(op):
    """The names of an operator's parameters, in order."""
    found = _names.get(op)
    if found is None:
        found = _names[op] = tuple(name for _, name in typed(op))
    return found


def typed(op):
    """(type, name) of an operator's parameters, in order."""
    signature = op.signature
    depth, parts, current = 0, [], ""
    inside = signature[signature.index("(") + 1 :]
    for c in inside:
        if c == ")" and depth == 0:
            break
        depth += c in "([" and 1 or (c in ")]" and -1 or 0)
        if c == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += c
    parts.append(current)
    out = []
    for part in parts:
        kind, _, name = part.strip().partition("=")[0].partition(" ")
        if name:
            out.append((kind, name))
    return out


def record_of(op):
    """The record of an operator; of an in-place form, that of the operator it is a form of."""
    if not _by_op:
        _by_op.update({record.op: (name, record) for name, record in records.items()})
        for native, made in inplace_records.items():
            base, dot, overload = native.partition(".")
            name = base[:-1] + dot + overload
            _by_op[made] = (name, records[name])
    return _by_op[op]
