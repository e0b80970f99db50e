"""Data pipes in several processes: each gets its share of one order."""

import multiprocessing

import pytest
from processes import run

import flambeau
from flambeau.utils.data import DataLoader
from flambeau.utils.data.datapipes.iter import IterableWrapper


def passes(rank, size, workers, shuffled):
    multiprocessing.current_process()._config["daemon"] = False  # or it could not have workers
    flambeau.manual_seed(rank)
    pipe = IterableWrapper(range(11))
    pipe = (pipe.shuffle() if shuffled else pipe).sharding_filter()
    loader = DataLoader(pipe, batch_size=None, num_workers=workers)
    return list(loader), list(loader)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffled", [False, True])
def test_processes_share_what_a_pipe_yields(workers, shuffled):
    orders = []
    for parts in zip(*run(2, passes, workers, shuffled), strict=True):
        assert sorted(sum(parts, [])) == list(range(11))
        orders.append(parts)
    assert (orders[0] == orders[1]) != shuffled
    if not shuffled:
        assert orders[0] == ([0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9])


def test_a_pipe_is_shared_once():
    pipe = IterableWrapper(range(4)).sharding_filter().sharding_filter()
    with pytest.raises(RuntimeError, match="Sharding twice"):
        iter(DataLoader(pipe))
