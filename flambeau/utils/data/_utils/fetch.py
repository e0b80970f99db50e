"""Reading the samples of one batch."""

from __future__ import annotations

import flambeau

from .collate import room_for


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
        # Only asked for the next sample: a dataset that is its own iterator may begin anew when it is asked for one.
        batch = [sample for _, sample in zip(index, _rest(samples), strict=False)]
        if not batch or (drop_last and len(batch) < len(index)):
            raise StopIteration
        return collate_fn(batch)

    return fetch


def _rest(samples):
    while True:
        try:
            yield next(samples)
        except StopIteration:
            return


def _rows_of_tensors(dataset, collate_fn):
    """The tensors of a `TensorDataset` whose batches can be gathered in one go, or None."""
    from ..dataset import TensorDataset
    from .collate import default_collate

    if type(dataset) is not TensorDataset or collate_fn is not default_collate:
        return None
    if any(
        type(t) is not flambeau.Tensor or t.requires_grad or t.device.type != "cpu" for t in dataset.tensors
    ):
        return None
    return dataset.tensors


def _gather(tensors, indices: list):
    """What collating the rows one by one gives."""
    if any(type(i) is not int for i in indices):
        return None
    size = len(tensors[0])
    if not indices or min(indices) < 0 or max(indices) >= size:
        return None  # Python's rules for indices, and its errors, hold for the rows one by one
    wanted = flambeau.tensor(indices)
    return [
        flambeau.index_select(t, 0, wanted, out=room_for((len(indices), *t.shape[1:]), t.dtype))
        for t in tensors
    ]


def _indexing_fetcher(dataset, auto_collation, collate_fn):
    rows = _rows_of_tensors(dataset, collate_fn) if auto_collation else None

    def fetch(index):
        if rows and (batch := _gather(rows, index)) is not None:
            return batch
        if not auto_collation:
            return collate_fn(dataset[index])
        if callable(getattr(dataset, "__getitems__", None)):
            return collate_fn(dataset.__getitems__(index))
        return collate_fn([dataset[i] for i in index])

    return fetch
