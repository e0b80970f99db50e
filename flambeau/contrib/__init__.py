"""Layers of flambeau's own, which PyTorch does not have. They use nothing but what a program for PyTorch could use."""
