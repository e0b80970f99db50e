"""Export of programs, which needs a recorded one, and flambeau records none."""

from __future__ import annotations

__all__ = ["Dim", "ExportedProgram", "export", "load", "register_dataclass", "save"]


class ExportedProgram:
    """What an export gives; there is none, so that ``isinstance`` says no."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError(
            "torch.export.ExportedProgram: flambeau records no programs that could be exported"
        )


class Dim:
    """A name for a size that may differ from call to call, for an export.

    Args:
        name: an identifier.
        min, max: the bounds of the size.
    """

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None):
        if not name.isidentifier():
            raise AssertionError(f"Dim name must be a valid identifier, got {name}")
        self.__name__, self.min, self.max = name, min, max


def _cannot(name: str):
    def function(*args, **kwargs):
        raise RuntimeError(
            f"torch.export.{name}: flambeau records no programs that could be exported; torch.save(model.state_dict(), "
            "path) keeps a model's weights"
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises: no program is recorded."
    return function


export = _cannot("export")
load = _cannot("load")
save = _cannot("save")


def register_dataclass(cls, *, serialized_type_name=None) -> None:
    """Make trees of `flambeau.utils._pytree` look into a dataclass.

    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Pair:
    ...     left: object
    ...     right: object
    >>> flambeau.export.register_dataclass(Pair)
    >>> flambeau.utils._pytree.tree_map(lambda x: x + 1, Pair(1, 2)).right
    3
    """
    import dataclasses

    from flambeau.utils import _pytree

    if not dataclasses.is_dataclass(cls):
        raise AssertionError(f"Only dataclasses can be registered with this function: {cls}")
    names = [field.name for field in dataclasses.fields(cls) if field.init]

    def flatten(value):
        return [getattr(value, name) for name in names], None

    def unflatten(values, context):
        return cls(**dict(zip(names, values, strict=True)))

    _pytree.register_pytree_node(cls, flatten, unflatten, serialized_type_name=serialized_type_name)
