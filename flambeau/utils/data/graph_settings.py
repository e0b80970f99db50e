"""Settings of all pipes of a graph: seeds, shuffling, shares of processes."""

import inspect
import warnings

import flambeau

from .graph import traverse_dps

__all__ = [
    "apply_random_seed",
    "apply_sharding",
    "apply_shuffle_seed",
    "apply_shuffle_settings",
    "get_all_graph_pipes",
]


def get_all_graph_pipes(graph):
    """The pipes of a graph of `traverse_dps`, each once."""
    found = {}

    def visit(graph):
        for key, (pipe, sources) in graph.items():
            if key not in found:
                found[key] = pipe
                visit(sources)

    visit(graph)
    return list(found.values())


def _is_random(pipe):
    return inspect.ismethod(getattr(pipe, "set_seed", None))


def apply_random_seed(datapipe, rng):
    """Seed every random pipe with a number of its own, drawn from the generator `rng`."""
    for pipe in get_all_graph_pipes(traverse_dps(datapipe)):
        if _is_random(pipe):
            pipe.set_seed(int(flambeau.empty((), dtype=flambeau.int64).random_(generator=rng).item()))
    return datapipe


apply_shuffle_seed = apply_random_seed


def apply_shuffle_settings(datapipe, shuffle=None):
    """Turn the graph's shuffling on or off; True on a graph without any shuffles its end."""
    if shuffle is None:
        return datapipe
    shufflers = [
        pipe
        for pipe in get_all_graph_pipes(traverse_dps(datapipe))
        if inspect.ismethod(getattr(pipe, "set_shuffle", None)) and _is_random(pipe)
    ]
    if not shufflers and shuffle:
        warnings.warn(
            "`shuffle=True` was set, but the datapipe does not contain a `Shuffler`. Adding one at the end. Be aware that "
            "the default buffer size might not be sufficient for your task.",
            stacklevel=2,
        )
        datapipe = datapipe.shuffle()
        shufflers = [datapipe]
    for pipe in shufflers:
        pipe.set_shuffle(shuffle)
    return datapipe


def apply_sharding(datapipe, num_of_instances, instance_id, sharding_group=None):
    """Tell every sharding pipe of the graph which share this process has."""

    def visit(graph, above=None):
        for pipe, sources in graph.values():
            apply = getattr(pipe, "apply_sharding", None)
            if inspect.ismethod(apply):
                if above is not None:
                    raise RuntimeError(
                        "Sharding twice on a single pipeline is likely unintended and will cause data loss. "
                        f"Sharding already applied to {above} while trying to apply to {pipe}"
                    )
                if len(inspect.signature(apply).parameters) < 3:
                    apply(num_of_instances, instance_id)
                else:
                    apply(num_of_instances, instance_id, sharding_group)
            visit(sources, pipe if inspect.ismethod(apply) else above)

    visit(traverse_dps(datapipe))
    return datapipe
