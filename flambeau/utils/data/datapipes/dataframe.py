"""Pipes of data frames: only their base class, by which a program can tell them."""

from .datapipe import DFIterDataPipe

__all__ = ["DFIterDataPipe"]
