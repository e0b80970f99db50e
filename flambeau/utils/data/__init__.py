"""Datasets, samplers and loaders."""

import importlib

from .dataloader import DataLoader, default_collate, default_convert, get_worker_info
from .dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from .distributed import DistributedSampler
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

# Data pipes are imported when somebody asks for them: few programs do.
_PIPES = {
    "DFIterDataPipe": "datapipes.datapipe",
    "DataChunk": "datapipes.datapipe",
    "IterDataPipe": "datapipes.datapipe",
    "MapDataPipe": "datapipes.datapipe",
    "argument_validation": "datapipes._decorator",
    "functional_datapipe": "datapipes._decorator",
    "guaranteed_datapipes_determinism": "datapipes._decorator",
    "non_deterministic": "datapipes._decorator",
    "runtime_validation": "datapipes._decorator",
    "runtime_validation_disabled": "datapipes._decorator",
}
_SUBMODULES = ("datapipes", "graph", "graph_settings")

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DFIterDataPipe",
    "DataChunk",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterDataPipe",
    "IterableDataset",
    "MapDataPipe",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "argument_validation",
    "default_collate",
    "default_convert",
    "functional_datapipe",
    "get_worker_info",
    "guaranteed_datapipes_determinism",
    "non_deterministic",
    "random_split",
    "runtime_validation",
    "runtime_validation_disabled",
]


def __getattr__(name):
    if name in _PIPES:
        value = getattr(importlib.import_module(f"{__name__}.{_PIPES[name]}"), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
