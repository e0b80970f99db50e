"""Types of one's own as containers of trees: dataclasses, and constants."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from . import _pytree


def register_dataclass(
    cls: type,
    *,
    field_names: list[str] | None = None,
    drop_field_names: list[str] | None = None,
    serialized_type_name: str | None = None,
) -> None:
    """Make a dataclass a container of its fields.

    Args:
        field_names: names of the fields; all that ``__init__`` takes, by default.
        drop_field_names: of them, those that are not carried over.

    >>> import dataclasses
    >>> from flambeau.utils import _pytree
    >>> @dataclasses.dataclass
    ... class Pair:
    ...     a: int
    ...     b: int
    >>> _pytree.register_dataclass(Pair)
    >>> _pytree.tree_map(lambda x: 10 * x, Pair(1, 2))
    Pair(a=10, b=20)
    """
    if field_names is None:
        if not dataclasses.is_dataclass(cls):
            raise ValueError(
                f"field_names must be specified with a list of all fields used to initialize {cls}, "
                "as it is not a dataclass."
            )
        field_names = [field.name for field in dataclasses.fields(cls) if field.init]
    names = [name for name in field_names if name not in (drop_field_names or ())]

    def flatten(obj):
        # A field that is None is no child: it comes back from the context.
        present = [name for name in names if getattr(obj, name) is not None]
        return [getattr(obj, name) for name in present], [present, [n for n in names if n not in present]]

    def unflatten(children, context):
        present, absent = context
        return cls(**dict(zip(present, children, strict=True)), **dict.fromkeys(absent))

    def flatten_with_keys(obj):
        children, context = flatten(obj)
        return [
            (_pytree.GetAttrKey(name), child) for name, child in zip(context[0], children, strict=True)
        ], context

    _pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=serialized_type_name,
        flatten_with_keys_fn=flatten_with_keys,
    )


class ConstantNode(NamedTuple):
    """The context of a registered constant: the object itself."""

    value: Any


CONSTANT_NODES: set[type] = set()


def register_constant(cls: type) -> None:
    """Make objects of a type part of the structure: nodes without leaves, which compare by ``==``.

    Raises:
        TypeError: the type does not say when two of its objects are the same.
    """
    if cls.__eq__ is object.__eq__:
        raise TypeError("register_constant(cls) expects `cls` to have a non-default `__eq__` implementation.")
    if cls.__hash__ is None:
        raise TypeError(
            "register_constant(cls) expects `cls` to have a non-default `__hash__` implementation."
        )
    _pytree.register_pytree_node(
        cls,
        lambda obj: ([], ConstantNode(obj)),
        lambda _, context: context.value,
        flatten_with_keys_fn=lambda obj: ([], ConstantNode(obj)),
    )
    CONSTANT_NODES.add(cls)


def is_constant_class(cls: type) -> bool:
    """Whether `register_constant` was called for the type."""
    return isinstance(cls, type) and cls in CONSTANT_NODES


def _register_namedtuple(cls: type, *, serialized_type_name: str) -> None:
    """Give a named tuple's type a name for `treespec_dumps`."""
    _pytree._name(cls, _pytree._Named(serialized_type_name))


def _deregister_pytree_node(cls: type) -> None:
    """Make a type a leaf again."""
    del _pytree.SUPPORTED_NODES[cls]
    named = _pytree.SUPPORTED_SERIALIZED_TYPES.pop(cls)
    _pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.pop(named.serialized_type_name, None)
    CONSTANT_NODES.discard(cls)
