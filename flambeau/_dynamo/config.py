"""Settings of a compiler that is not there: any name can be set and read back."""

from __future__ import annotations

import sys

cache_size_limit = recompile_limit = 8
accumulated_cache_size_limit = 256
suppress_errors = False
verbose = False
capture_scalar_outputs = False
capture_dynamic_output_shape_ops = False
assume_static_by_default = True
automatic_dynamic_shapes = True
optimize_ddp = True
inline_inbuilt_nn_modules = True
allow_unspec_int_on_nn_module = False
skip_fwd_side_effects_in_bwd_under_checkpoint = False


def patch(*args, **changes):
    """Context manager and decorator: other settings for a while.

    Args:
        args: a dictionary of settings, or a name and its value.
        changes: settings by keyword.
    """
    import contextlib

    if len(args) == 1:
        changes = {**args[0], **changes}
    elif args:
        changes = {args[0]: args[1], **changes}

    @contextlib.contextmanager
    def patched():
        module, absent = sys.modules[__name__], object()
        before = {name: getattr(module, name, absent) for name in changes}
        for name, value in changes.items():
            setattr(module, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is absent:
                    delattr(module, name)
                else:
                    setattr(module, name, value)

    return patched()
