"""Seeds of a worker's random generators: Python's, NumPy's and ours."""

from __future__ import annotations

import random
import sys

import flambeau


def seed_worker(base_seed: int, worker_id: int) -> int:
    """Seed all generators of this worker; its seed."""
    seed = base_seed + worker_id
    random.seed(seed)
    flambeau.manual_seed(seed)
    entropy = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    if "numpy.random" in sys.modules:
        _seed_numpy(sys.modules["numpy.random"], entropy)
    else:
        # Importing NumPy takes longer than starting a worker, and most never use it.
        sys.meta_path.insert(0, _SeedOnImport(entropy))
    return seed


def _seed_numpy(numpy_random, entropy: list[int]) -> None:
    numpy_random.seed(numpy_random.SeedSequence(entropy).generate_state(4))


class _SeedOnImport:
    """Seeds NumPy's generator as soon as it is there."""

    def __init__(self, entropy: list[int]):
        self._entropy = entropy

    def find_spec(self, name, path=None, target=None):
        if name != "numpy.random":
            return None
        import importlib.machinery

        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _SeedingLoader(spec.loader, self._entropy)
        return spec


class _SeedingLoader:
    def __init__(self, inner, entropy: list[int]):
        self._inner = inner
        self._entropy = entropy

    def create_module(self, spec):
        return self._inner.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._inner
        self._inner.exec_module(module)
        _seed_numpy(module, self._entropy)
