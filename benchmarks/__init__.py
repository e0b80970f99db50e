"""The same workloads on flambeau and on PyTorch, in turn: `python -m benchmarks`."""
