"""Reading the samples of one batch."""

from __future__ import annotations

from itertools import islice


def make_fetcher(by_iteration: bool, dataset, auto_collation: bool, collate_fn, drop_last: bool):
    """A function of a batch's indices (or of one index, without batching) that returns the batch.

    For a dataset by iteration it raises `StopIteration` at the end.
    """
    if by_iteration:
        return _iterating_fetcher(iter(dataset), auto_collation, collate_fn, drop_last)
    return _indexing_fetcher(dataset, auto_collation, collate_fn)


def _iterating_fetcher(samples, auto_collation, collate_fn, drop_last):
    def fetch(index):
        if not auto_collation:
            return collate_fn(next(samples))
        batch = list(islice(samples, len(index)))
        if not batch or (drop_last and len(batch) < len(index)):
            raise StopIteration
        return collate_fn(batch)

    return fetch


def _indexing_fetcher(dataset, auto_collation, collate_fn):
    def fetch(index):
        if not auto_collation:
            return collate_fn(dataset[index])
        if callable(getattr(dataset, "__getitems__", None)):
            return collate_fn(dataset.__getitems__(index))
        return collate_fn([dataset[i] for i in index])

    return fetch
