"""The pipes that a data pipe is made of."""

from .datapipes.datapipe import IterDataPipe, MapDataPipe

__all__ = ["traverse", "traverse_dps"]


def traverse_dps(datapipe):
    """The graph that ends in `datapipe`: ``{id: (pipe, the graph of its sources)}``."""
    return {id(datapipe): (datapipe, _sources(datapipe, {id(datapipe)}))}


def traverse(datapipe, only_datapipe=None):
    """`traverse_dps` under its older name."""
    return traverse_dps(datapipe)


def _sources(holder, seen):
    found = {}
    for value in vars(holder).values():
        for pipe in _pipes_in(value):
            if id(pipe) not in seen:
                found[id(pipe)] = (pipe, _sources(pipe, seen | {id(pipe)}))
    return found


def _pipes_in(value):
    if isinstance(value, (IterDataPipe, MapDataPipe)):
        yield value
    elif isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _pipes_in(item)
    elif isinstance(value, dict):
        yield from _pipes_in([*value.keys(), *value.values()])
    elif isinstance(getattr(value, "source", None), (IterDataPipe, MapDataPipe)):  # what forked pipes share
        yield value.source
