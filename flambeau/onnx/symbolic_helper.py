"""What rules for an export are decorated with. No export calls them."""

from __future__ import annotations

__all__ = ["parse_args", "quantized_args"]


def parse_args(*arg_descriptors):
    """Decorator that returns the rule: no export calls it."""
    return lambda fn: fn


def quantized_args(*arg_q_descriptors, scale=None, zero_point=None, quantize_output=True):
    """Decorator that returns the rule: no export calls it."""
    return lambda fn: fn
