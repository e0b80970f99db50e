"""Modules as functions of their parameters."""

from .modules import functional_call, replace_all_batch_norm_modules_, stack_module_state

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]
