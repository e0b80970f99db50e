"""Structures of trees as text: to be read by people, and to be written to files, in PyTorch's form."""

from __future__ import annotations

import json

from . import _pytree

DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL = 1


def _check_protocol(protocol) -> None:
    if protocol != DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL:
        raise ValueError(
            f"Unknown protocol {protocol}. Available protocols: {[DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL]}"
        )


def treespec_dumps(treespec: _pytree.TreeSpec, protocol: int | None = None) -> str:
    """A structure as JSON, from which `treespec_loads` makes it again.

    Raises:
        NotImplementedError: it has a type that was registered without a name for this.

    >>> from flambeau.utils import _pytree
    >>> text = _pytree.treespec_dumps(_pytree.tree_structure({"a": [1, 2]}))
    >>> _pytree.treespec_loads(text)
    TreeSpec(dict, ['a'], [TreeSpec(list, None, [*,
        *])])
    """
    if not isinstance(treespec, _pytree.TreeSpec):
        raise TypeError(
            f"Expected `treespec` to be an instance of PyTreeSpec but got item of type {type(treespec)}."
        )
    protocol = DEFAULT_TREESPEC_SERIALIZATION_PROTOCOL if protocol is None else protocol
    _check_protocol(protocol)
    return json.dumps([protocol, _dump(treespec)])


def _dump(spec: _pytree.TreeSpec) -> dict:
    if spec.type is None:
        return {"type": None, "context": None, "children_spec": []}
    if spec.type is _pytree._NamedTuple and spec.context not in _pytree.SUPPORTED_SERIALIZED_TYPES:
        raise NotImplementedError(
            f"Can't serialize TreeSpec of namedtuple class {spec.context} because we didn't register a "
            "serializated_type_name. Please register using `_register_namedtuple`."
        )
    named = _pytree.SUPPORTED_SERIALIZED_TYPES[spec.type]
    if named.serialized_type_name is None:
        raise NotImplementedError(
            f"No registered serialization name for {spec.type} found. Please update your _register_pytree_node call with a "
            "`serialized_type_name` kwarg."
        )
    if named.to_dumpable_context is None:
        context = json.dumps(spec.context)
    else:
        context = named.to_dumpable_context(spec.context)
    return {
        "type": named.serialized_type_name,
        "context": context,
        "children_spec": [_dump(child) for child in spec.children_specs],
    }


def treespec_loads(serialized: str) -> _pytree.TreeSpec:
    """The structure that `treespec_dumps` has written, here or in PyTorch."""
    protocol, schema = json.loads(serialized)
    _check_protocol(protocol)
    return _load(schema)


def _load(schema: dict) -> _pytree.TreeSpec:
    if schema["type"] is None and schema["context"] is None and not schema["children_spec"]:
        return _pytree.LeafSpec()
    kind = _pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.get(schema["type"])
    if kind is None:
        raise NotImplementedError(f"Can't find a type that is registered as {schema['type']!r}")
    named, context = _pytree.SUPPORTED_SERIALIZED_TYPES[kind], schema["context"]
    context = (
        json.loads(context) if named.from_dumpable_context is None else named.from_dumpable_context(context)
    )
    return _pytree.TreeSpec(kind, context, [_load(child) for child in schema["children_spec"]])


class _Star:
    def __repr__(self):
        return "*"


def treespec_pprint(treespec: _pytree.TreeSpec) -> str:
    """A structure as the containers would print, with stars for leaves.

    >>> from flambeau.utils import _pytree
    >>> _pytree.treespec_pprint(_pytree.tree_structure({"a": [1, (2, 3)]}))
    "{'a': [*, (*, *)]}"
    """
    return repr(_pytree.tree_unflatten([_Star()] * treespec.num_leaves, treespec))


#: Older names.
pytree_to_str, str_to_pytree = treespec_dumps, treespec_loads
