"""Trees: nested containers taken apart into a flat list of leaves, and put together again.

Containers are list, tuple, dict, named tuples, OrderedDict, defaultdict, deque, Size, what operators with several results
return, and types that were registered; all else is a leaf, None too.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flambeau._C import Size

Context = Any
PyTree = Any
DumpableContext = Any  # what JSON can hold
FlattenFn = FlattenFunc = Callable[[PyTree], tuple[list, Context]]
UnflattenFn = UnflattenFunc = Callable[[Iterable, Context], PyTree]
FlattenWithKeysFn = FlattenWithKeysFunc = Callable[[PyTree], tuple[list, Context]]
ToDumpableContextFn = Callable[[Context], DumpableContext]
FromDumpableContextFn = Callable[[DumpableContext], Context]
KeyPath = tuple[Any, ...]


class NodeDef(NamedTuple):
    """How a container type is taken apart: into children and what else is needed to rebuild it."""

    type: type
    flatten_fn: Callable
    unflatten_fn: Callable
    flatten_with_keys_fn: Callable | None = None


class _Named(NamedTuple):
    """How a container type is written down: under which name, and how its context."""

    serialized_type_name: str | None
    to_dumpable_context: Callable | None = None
    from_dumpable_context: Callable | None = None


class SequenceKey(NamedTuple):
    """A step of a path to a leaf: an index."""

    idx: int

    def __str__(self):
        return f"[{self.idx!r}]"

    def get(self, sequence):
        """The child of `sequence` that the step leads to."""
        return sequence[self.idx]


class MappingKey(NamedTuple):
    """A step of a path to a leaf: a dictionary's key."""

    key: Any

    def __str__(self):
        return f"[{self.key!r}]"

    def get(self, mapping):
        """The child of `mapping` that the step leads to."""
        return mapping[self.key]


class GetAttrKey(NamedTuple):
    """A step of a path to a leaf: an attribute."""

    name: str

    def __str__(self):
        return f".{self.name}"

    def get(self, obj):
        """The child of `obj` that the step leads to."""
        return getattr(obj, self.name)


SUPPORTED_NODES: dict[type, NodeDef] = {}
#: How types are written down, for `treespec_dumps`; named tuples of one's own too.
SUPPORTED_SERIALIZED_TYPES: dict[type, _Named] = {}
SERIALIZED_TYPE_TO_PYTHON_TYPE: dict[str, type] = {}


def register_pytree_node(
    cls: type,
    flatten_fn: Callable,
    unflatten_fn: Callable,
    *,
    serialized_type_name=None,
    to_dumpable_context=None,
    from_dumpable_context=None,
    flatten_with_keys_fn=None,
) -> None:
    """Make a type a container.

    Args:
        cls: the type; subclasses are not included.
        flatten_fn: from an object to ``(children, context)``.
        unflatten_fn: from ``(children, context)`` to an object.
        serialized_type_name: the type's name in `treespec_dumps`, which cannot do without.
        to_dumpable_context, from_dumpable_context: between a context and what JSON can hold; the context itself otherwise.
        flatten_with_keys_fn: as `flatten_fn`, with pairs of a key (`SequenceKey`, `MappingKey`, `GetAttrKey`) and a child;
            for the functions ``..._with_path``.

    Raises:
        ValueError: the type is one already.
    """
    if cls in SUPPORTED_NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    if (to_dumpable_context is None) != (from_dumpable_context is None):
        raise ValueError(
            f"Both to_dumpable_context and from_dumpable_context for {cls} must be None or registered."
        )
    _name(cls, _Named(serialized_type_name, to_dumpable_context, from_dumpable_context))
    SUPPORTED_NODES[cls] = NodeDef(cls, flatten_fn, unflatten_fn, flatten_with_keys_fn)


def _name(cls: type, named: _Named) -> None:
    SUPPORTED_SERIALIZED_TYPES[cls] = named
    if named.serialized_type_name is not None:
        SERIALIZED_TYPE_TO_PYTHON_TYPE[named.serialized_type_name] = cls


#: Older name of `register_pytree_node`.
_register_pytree_node = register_pytree_node


def _dict_flatten(mapping) -> tuple[list, list]:
    return list(mapping.values()), list(mapping)


def _dict_flatten_with_keys(mapping) -> tuple[list, list]:
    return [(MappingKey(key), value) for key, value in mapping.items()], list(mapping)


def _dict_unflatten(children, keys) -> dict:
    return dict(zip(keys, children, strict=True))


def _register_builtin() -> None:
    def flatten_default_dict(mapping):
        return list(mapping.values()), [mapping.default_factory, list(mapping)]

    def unflatten_default_dict(children, context):
        factory, keys = context
        return defaultdict(factory, zip(keys, children, strict=True))

    def with_keys(flatten, name_of):
        def flatten_with_keys(tree):
            children, context = flatten(tree)
            return list(zip(name_of(tree), children, strict=True)), context

        return flatten_with_keys

    def indices(tree):
        return map(SequenceKey, range(len(tree)))

    def keys(tree):
        return map(MappingKey, tree)

    def fields(tree):
        return map(GetAttrKey, tree._fields)

    def dump_default_dict(context):
        factory, keys = context
        return {
            "default_factory_module": factory.__module__,
            "default_factory_name": factory.__qualname__,
            "dict_context": keys,
        }

    def load_default_dict(dumped):
        module = importlib.import_module(dumped["default_factory_module"])
        return [getattr(module, dumped["default_factory_name"]), dumped["dict_context"]]

    for kind, flatten, unflatten, names in (
        (list, lambda x: (x, None), lambda children, _: list(children), indices),
        (tuple, lambda x: (list(x), None), lambda children, _: tuple(children), indices),
        (Size, lambda x: (list(x), None), lambda children, _: tuple(children), indices),
        (dict, _dict_flatten, _dict_unflatten, keys),
        (OrderedDict, _dict_flatten, lambda c, keys: OrderedDict(zip(keys, c, strict=True)), keys),
        (defaultdict, flatten_default_dict, unflatten_default_dict, keys),
        (deque, lambda x: (list(x), x.maxlen), lambda children, size: deque(children, maxlen=size), indices),
        (_NamedTuple, lambda x: (list(x), type(x)), lambda children, kind: kind(*children), fields),
    ):
        register_pytree_node(kind, flatten, unflatten, flatten_with_keys_fn=with_keys(flatten, names))
        _name(kind, _Named(f"{kind.__module__}.{kind.__name__}"))
    _name(defaultdict, _Named("collections.defaultdict", dump_default_dict, load_default_dict))
    _name(
        _NamedTuple,
        _Named(
            "collections.namedtuple",
            lambda kind: SUPPORTED_SERIALIZED_TYPES[kind].serialized_type_name,
            SERIALIZED_TYPE_TO_PYTHON_TYPE.__getitem__,
        ),
    )


class _NamedTuple:
    """Stands for all named tuples in the registry."""


_register_builtin()


def is_namedtuple_class(cls: type) -> bool:
    """Whether a type is a named tuple's."""
    return (
        isinstance(cls, type) and issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)
    )


def is_namedtuple_instance(obj) -> bool:
    """Whether an object is a named tuple."""
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj) -> bool:
    """Whether an object is a named tuple, or the type of one.

    >>> from flambeau.utils import _pytree
    >>> _pytree.is_namedtuple((1, 2)), _pytree.is_namedtuple(_pytree.SequenceKey(0))
    (False, True)
    """
    return is_namedtuple_class(obj if isinstance(obj, type) else type(obj))


def _get_node_type(tree) -> type:
    kind = type(tree)
    if kind in SUPPORTED_NODES or not issubclass(kind, tuple):
        return kind
    if is_structseq_class(kind) and kind.__module__ == "torch.return_types":  # known when the first one comes
        register_pytree_node(kind, lambda x: (list(x), None), lambda children, _: kind(children))
    return _NamedTuple if is_namedtuple_class(kind) else kind


def is_structseq_class(cls: type) -> bool:
    """Whether a type is that of a C structure seen as a tuple, such as what `flambeau.max` returns."""
    return (
        isinstance(cls, type)
        and cls.__bases__ == (tuple,)
        and all(
            isinstance(getattr(cls, n, None), int)
            for n in ("n_fields", "n_sequence_fields", "n_unnamed_fields")
        )
    )


def is_structseq_instance(obj) -> bool:
    """Whether an object is a C structure seen as a tuple."""
    return is_structseq_class(type(obj))


def is_structseq(obj) -> bool:
    """Whether an object is a C structure seen as a tuple, or the type of one.

    >>> from flambeau.utils import _pytree
    >>> _pytree.is_structseq(flambeau.ones(2).max(0)), _pytree.is_structseq((1, 2))
    (True, False)
    """
    return is_structseq_class(obj if isinstance(obj, type) else type(obj))


def tree_is_leaf(tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether a tree is a single leaf."""
    return (is_leaf is not None and is_leaf(tree)) or _get_node_type(tree) not in SUPPORTED_NODES


class TreeSpec:
    """The structure of a tree without its leaves."""

    def __init__(self, type, context, children_specs: list):
        self.type = type
        self.context = context
        self.children_specs = children_specs
        if type is None:
            self.num_nodes = self.num_leaves = 1
        else:
            self.num_nodes = 1 + sum(spec.num_nodes for spec in children_specs)
            self.num_leaves = sum(spec.num_leaves for spec in children_specs)
        self.num_children = len(children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def children(self) -> list[TreeSpec]:
        return list(self.children_specs)

    def child(self, index: int) -> TreeSpec:
        return self.children_specs[index]

    def unflatten(self, leaves: Iterable) -> PyTree:
        """A tree of this structure with the leaves."""
        leaves = list(leaves)
        if len(leaves) != self.num_leaves:
            raise ValueError(
                f"treespec.unflatten(leaves): `leaves` has length {len(leaves)} but the spec refers to a pytree that "
                f"holds {self.num_leaves} items ({self})."
            )
        return self._build(iter(leaves))

    def _build(self, leaves):
        if self.type is None:
            return next(leaves)
        children = [spec._build(leaves) for spec in self.children_specs]
        return SUPPORTED_NODES[self.type].unflatten_fn(children, self.context)

    def flatten_up_to(self, tree: PyTree) -> list:
        """Take a tree apart as far as this structure goes; what lies deeper stays whole."""
        found: list = []
        self._collect(tree, found)
        return found

    def _collect(self, tree, found: list) -> None:
        if self.type is None:
            found.append(tree)
            return
        kind = _get_node_type(tree)
        if kind is not self.type and not (kind in _DICTS and self.type in _DICTS):
            raise ValueError(f"Node type mismatch; expected {self.type!r}, but got {kind!r}.")
        children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
        if len(children) != self.num_children:
            raise ValueError(f"Node arity mismatch; expected {self.num_children}, but got {len(children)}.")
        if kind in _DICTS:
            keys = self.context[1] if self.type is defaultdict else self.context
            if set(keys) != set(tree):
                raise ValueError(f"Node keys mismatch; expected {list(keys)}, but got {list(tree)}.")
            children = [tree[key] for key in keys]
        elif context != self.context:
            raise ValueError(f"Node context mismatch; expected {self.context!r}, but got {context!r}.")
        for spec, child in zip(self.children_specs, children, strict=True):
            spec._collect(child, found)

    def __eq__(self, other) -> bool:
        return (
            isinstance(other, TreeSpec)
            and self.type is other.type
            and self.context == other.context
            and self.children_specs == other.children_specs
        )

    def __hash__(self) -> int:
        return hash((self.type, self.num_nodes, self.num_leaves))

    def __repr__(self) -> str:
        return self._text(0)

    def _text(self, indent: int) -> str:
        if self.type is None:
            return "*"
        name = "namedtuple" if self.type is _NamedTuple else self.type.__name__
        inner = (",\n" + " " * (indent + 2)).join(spec._text(indent + 2) for spec in self.children_specs)
        return f"TreeSpec({name}, {self.context}, [{inner}])"


PyTreeSpec = TreeSpec
_DICTS = (dict, OrderedDict, defaultdict)


class LeafSpec(TreeSpec):
    """The structure of a single leaf."""

    def __init__(self):
        super().__init__(None, None, [])


_LEAF = LeafSpec()


def treespec_leaf() -> LeafSpec:
    """The structure of a single leaf."""
    return _LEAF


def treespec_tuple(iterable: Iterable[TreeSpec] = (), /) -> TreeSpec:
    """The structure of a tuple of trees of the given structures."""
    return TreeSpec(tuple, None, list(iterable))


def treespec_dict(mapping=(), /, **kwargs: TreeSpec) -> TreeSpec:
    """The structure of a dictionary of trees of the given structures."""
    children = dict(mapping, **kwargs)
    return TreeSpec(dict, list(children), list(children.values()))


def tree_flatten(tree: PyTree, is_leaf: Callable | None = None) -> tuple[list, TreeSpec]:
    """The leaves of a tree, from left to right, and its structure.

    >>> from flambeau.utils._pytree import tree_flatten
    >>> tree_flatten([1, {"a": 2}])[0]
    [1, 2]
    """
    leaves: list = []
    return leaves, _take_apart(tree, leaves, is_leaf)


def _take_apart(tree, leaves: list, is_leaf) -> TreeSpec:
    if tree_is_leaf(tree, is_leaf):
        leaves.append(tree)
        return _LEAF
    kind = _get_node_type(tree)
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    return TreeSpec(kind, context, [_take_apart(child, leaves, is_leaf) for child in children])


def tree_unflatten(leaves: Iterable, treespec: TreeSpec) -> PyTree:
    """A tree of the given structure with the leaves."""
    return treespec.unflatten(leaves)


def tree_iter(tree: PyTree, is_leaf: Callable | None = None):
    """Yield the leaves of a tree from left to right."""
    return iter(tree_leaves(tree, is_leaf))


def tree_leaves(tree: PyTree, is_leaf: Callable | None = None) -> list:
    """The leaves of a tree from left to right."""
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: Callable | None = None) -> TreeSpec:
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable | None = None) -> PyTree:
    """A tree of the same structure with `func` of every leaf (and of what stands in its place in the other trees).

    >>> from flambeau.utils._pytree import tree_map
    >>> tree_map(lambda x: x + 1, {"a": [1, 2]})
    {'a': [2, 3]}
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return spec.unflatten(func(*values) for values in zip(leaves, *others, strict=True))


def tree_map_(func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable | None = None) -> PyTree:
    """Call `func` as `tree_map` does, for its effect; returns the tree itself."""
    leaves, spec = tree_flatten(tree, is_leaf)
    for values in zip(leaves, *(spec.flatten_up_to(rest) for rest in rests), strict=True):
        func(*values)
    return tree


def arg_tree_leaves(*args: PyTree, **kwargs: PyTree) -> list:
    """The leaves of a call's arguments."""
    return tree_leaves((args, kwargs))


def map_only(type_or_types_or_pred, /) -> Callable:
    """Decorator: a function of leaves that leaves others than those of the given types alone."""
    return lambda func: _only(type_or_types_or_pred, func)


def _only(types, func):
    matches = (
        types if callable(types) and not isinstance(types, type) else lambda leaf: isinstance(leaf, types)
    )
    return lambda leaf: func(leaf) if matches(leaf) else leaf


def tree_map_only(
    type_or_types_or_pred, func: Callable, tree: PyTree, is_leaf: Callable | None = None
) -> PyTree:
    """`tree_map` that leaves other leaves than those of the given types (or for which the predicate holds) alone."""
    return tree_map(_only(type_or_types_or_pred, func), tree, is_leaf=is_leaf)


def tree_map_only_(
    type_or_types_or_pred, func: Callable, tree: PyTree, is_leaf: Callable | None = None
) -> PyTree:
    """`tree_map_` for the leaves of the given types only."""
    return tree_map_(_only(type_or_types_or_pred, func), tree, is_leaf=is_leaf)


def tree_all(pred: Callable, tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether the predicate holds for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable, tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether the predicate holds for any leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all_only(type_or_types, pred: Callable, tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether the predicate holds for all leaves of the given types."""
    return all(pred(leaf) for leaf in tree_leaves(tree, is_leaf) if isinstance(leaf, type_or_types))


def tree_any_only(type_or_types, pred: Callable, tree: PyTree, is_leaf: Callable | None = None) -> bool:
    """Whether the predicate holds for any leaf of the given types."""
    return any(pred(leaf) for leaf in tree_leaves(tree, is_leaf) if isinstance(leaf, type_or_types))


def keystr(kp: Iterable) -> str:
    """A path to a leaf as it would be written.

    >>> from flambeau.utils import _pytree
    >>> _pytree.keystr((_pytree.MappingKey("a"), _pytree.SequenceKey(0)))
    "['a'][0]"
    """
    return "".join(map(str, kp))


def key_get(obj, kp: Iterable):
    """What lies at the end of a path."""
    for key in kp:
        obj = key.get(obj)
    return obj


def _with_paths(tree, path: tuple, is_leaf):
    if tree_is_leaf(tree, is_leaf):
        yield path, tree
        return
    flatten = SUPPORTED_NODES[_get_node_type(tree)].flatten_with_keys_fn
    if flatten is None:
        raise ValueError(
            f"Did not find a flatten_with_keys_fn for type: {type(tree)}. Please pass a flatten_with_keys_fn argument to "
            "register_pytree_node."
        )
    for key, child in flatten(tree)[0]:
        yield from _with_paths(child, (*path, key), is_leaf)


def tree_leaves_with_path(tree: PyTree, is_leaf: Callable | None = None) -> list:
    """The leaves, each with its path: pairs of a tuple of keys and the leaf."""
    return list(_with_paths(tree, (), is_leaf))


def tree_flatten_with_path(tree: PyTree, is_leaf: Callable | None = None) -> tuple[list, TreeSpec]:
    """The leaves with their paths, and the structure."""
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_map_with_path(
    func: Callable, tree: PyTree, *rests: PyTree, is_leaf: Callable | None = None
) -> PyTree:
    """A tree of ``func(path, leaf, *leaves_of_the_others)``.

    >>> from flambeau.utils import _pytree
    >>> _pytree.tree_map_with_path(lambda path, x: (_pytree.keystr(path), x), {"a": [1, 2]})
    {'a': [("['a'][0]", 1), ("['a'][1]", 2)]}
    """
    pairs, structure = tree_flatten_with_path(tree, is_leaf)
    columns = [structure.flatten_up_to(rest) for rest in rests]
    return structure.unflatten(
        func(path, leaf, *others) for (path, leaf), *others in zip(pairs, *columns, strict=True)
    )


def _broadcast_to_and_flatten(
    tree: PyTree, treespec: TreeSpec, is_leaf: Callable | None = None
) -> list | None:
    """The leaves of a tree that may end earlier than the structure, each for all that lies below it; None if it has
    another structure."""
    if tree_is_leaf(tree, is_leaf):
        return [tree] * treespec.num_leaves
    kind = _get_node_type(tree)
    if treespec.type is not kind:
        return None
    children, context = SUPPORTED_NODES[kind].flatten_fn(tree)
    if len(children) != treespec.num_children or context != treespec.context:
        return None
    found: list = []
    for child, spec in zip(children, treespec.children_specs, strict=True):
        leaves = _broadcast_to_and_flatten(child, spec, is_leaf)
        if leaves is None:
            return None
        found += leaves
    return found


#: Names that other modules define, loaded at first use: {name: module}.
_LAZY = {
    **dict.fromkeys(
        "treespec_dumps treespec_loads treespec_pprint pytree_to_str str_to_pytree "
        "DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL".split(),
        "_pytree_text",
    ),
    **dict.fromkeys(
        "register_dataclass register_constant is_constant_class ConstantNode CONSTANT_NODES _register_namedtuple "
        "_deregister_pytree_node".split(),
        "_pytree_types",
    ),
}


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module("." + _LAZY[name], __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY})
