"""flambeau: PyTorch's public API on an engine of its own.

`import flambeau as torch`, or run a PyTorch program unmodified: ``python -m flambeau script.py``. Names, semantics,
defaults and random numbers are PyTorch's; the code behind them is not. Submodules load when they are first used.
"""

import importlib
import sys

from . import _C
from ._C import *  # noqa: F403  (dtypes, layouts, memory formats)
from ._C import (
    Generator,
    Size,
    Tensor,
    UntypedStorage,
    default_generator,
    device,
    dtype,
    layout,
    memory_format,
)
from ._ops import load as _load_operators
from ._version import __version__ as _flambeau_version

__all__ = [
    "Generator",
    "Size",
    "Tensor",
    "UntypedStorage",
    "default_generator",
    "device",
    "dtype",
    "layout",
    "memory_format",
]

# Python's and C's names for dtypes.
float = float32  # noqa: F405
double = float64  # noqa: F405
half = float16  # noqa: F405
short = int16  # noqa: F405
int = int32  # noqa: F405
long = int64  # noqa: F405
chalf = complex32  # noqa: F405
cfloat = complex64  # noqa: F405
cdouble = complex128  # noqa: F405
bit = uint1  # noqa: F405

from math import e, inf, nan, pi  # noqa: E402, F401

newaxis = None
legacy_contiguous_format = contiguous_format  # noqa: F405

_operators = _load_operators()
globals().update(_operators)

#: Submodules that `flambeau.NAME` loads at first use.
_SUBMODULES = frozenset(
    "__config__ _VF _dynamo _subclasses _tensor_str _utils "
    "accelerator amp ao autograd backends compiler contrib cpu cuda distributed distributions export fft func "
    "functional futures fx hub jit library linalg masked mps mtia multiprocessing nested nn onnx optim overrides package "
    "profiler quantization random return_types serialization signal sparse special storage testing torch_version "
    "types utils version xpu".split()
)

#: Names that another module defines, loaded at first use: {name: module}.
_LAZY = {
    "__version__": "version",
    **dict.fromkeys("manual_seed seed initial_seed get_rng_state set_rng_state".split(), "random"),
    **dict.fromkeys("save load".split(), "serialization"),
    "PyTorchFileReader": "_serialization.file_reader",
    **dict.fromkeys("set_printoptions get_printoptions".split(), "_tensor.printing"),
    **dict.fromkeys("no_grad enable_grad inference_mode set_grad_enabled".split(), "autograd.grad_mode"),
    **dict.fromkeys("ScriptModule ScriptFunction".split(), "jit"),
    "vmap": "func.vmap",
    "GradScaler": "amp.grad_scaler",
    **dict.fromkeys("cond while_loop".split(), "_higher_order_ops.control_flow"),
    **dict.fromkeys("finfo iinfo".split(), "_dtypes_info"),
    **dict.fromkeys(
        "TypedStorage BFloat16Storage BoolStorage ByteStorage CharStorage ComplexDoubleStorage ComplexFloatStorage "
        "DoubleStorage FloatStorage HalfStorage IntStorage LongStorage ShortStorage from_file".split(),
        "storage",
    ),
    **dict.fromkeys(
        "autocast is_autocast_available is_autocast_enabled set_autocast_enabled get_autocast_dtype set_autocast_dtype "
        "is_autocast_cache_enabled set_autocast_cache_enabled clear_autocast_cache autocast_increment_nesting "
        "autocast_decrement_nesting is_autocast_cpu_enabled set_autocast_cpu_enabled get_autocast_cpu_dtype "
        "set_autocast_cpu_dtype get_autocast_gpu_dtype set_autocast_gpu_dtype".split(),
        "amp.autocast_mode",
    ),
    **dict.fromkeys("set_default_device get_default_device".split(), "_device"),
    **dict.fromkeys("OutOfMemoryError AcceleratorError".split(), "_errors"),
    **dict.fromkeys("Stream Event get_device_module".split(), "_streams"),
    **dict.fromkeys("ops classes".split(), "library"),
    "Tag": "_tags",
    "lobpcg": "_lobpcg",
    "set_anomaly_enabled": "autograd.anomaly_mode",
    "Future": "futures",
    **dict.fromkeys(
        "_check _check_with _check_index _check_value _check_type _check_not_implemented _check_tensor_all "
        "_check_tensor_all_with _check_is_size _assert _assert_async".split(),
        "_checks",
    ),
    **dict.fromkeys(
        "SymInt SymFloat SymBool sym_int sym_float sym_not sym_max sym_min sym_ite sym_sum sym_sqrt sym_fresh_size".split(),
        "_symbolic",
    ),
    **dict.fromkeys("from_dlpack to_dlpack".split(), "utils.dlpack"),
    **dict.fromkeys(
        "sparse_coo_tensor sparse_compressed_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor "
        "sparse_bsc_tensor".split(),
        "_ops.sparse.construct",
    ),
    **dict.fromkeys("dsmm hsmm hspmm saddmm smm sspaddmm".split(), "_ops.sparse.products"),
    "resize_as_sparse_": "_ops.sparse.convert",
    **dict.fromkeys(
        "_convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo".split(),
        "_ops.sparse.compressed_indices",
    ),
    **dict.fromkeys("is_tensor is_storage typename".split(), "_tensor.methods"),
    **dict.fromkeys(
        "set_default_tensor_type DoubleTensor FloatTensor HalfTensor BFloat16Tensor ByteTensor CharTensor ShortTensor "
        "IntTensor LongTensor BoolTensor".split(),
        "_tensor.legacy",
    ),
    **dict.fromkeys("install_as_torch uninstall_as_torch".split(), "_compat.as_torch"),
    **dict.fromkeys(
        "adaptive_avg_pool1d avg_pool1d bilinear binary_cross_entropy_with_logits channel_shuffle conv1d conv2d conv3d "
        "conv_transpose1d conv_transpose2d conv_transpose3d cosine_embedding_loss hinge_embedding_loss kl_div "
        "margin_ranking_loss max_pool1d max_pool2d max_pool3d pixel_shuffle pixel_unshuffle poisson_nll_loss "
        "triplet_margin_loss pairwise_distance batch_norm embedding group_norm instance_norm layer_norm rms_norm "
        "adaptive_max_pool1d conv_tbc rrelu rrelu_ detach_ index_put_ ldexp_ frobenius_norm nuclear_norm "
        "native_channel_shuffle max_pool1d_with_indices spmm eig lstsq matrix_rank solve "
        "symeig".split(),
        "_functional_names",
    ),
    **dict.fromkeys(
        "use_deterministic_algorithms are_deterministic_algorithms_enabled is_deterministic_algorithms_warn_only_enabled "
        "set_deterministic_debug_mode get_deterministic_debug_mode set_float32_matmul_precision "
        "get_float32_matmul_precision set_num_interop_threads get_num_interop_threads set_flush_denormal set_warn_always "
        "is_warn_always_enabled compile typename DisableTorchFunction DisableTorchFunctionSubclass".split(),
        "_settings",
    ),
}


def _native_name(name):
    """A name of PyTorch's native module that is Python here; such a module loads when the first is asked for."""
    names = importlib.import_module("._native_names", __package__)
    if name.startswith("__") or name not in names.__all__:
        raise AttributeError(f"module 'torch._C' has no attribute '{name}' in flambeau {_flambeau_version}")
    setattr(_C, name, getattr(names, name))
    return getattr(names, name)


_C.__getattr__ = _native_name


def __getattr__(name):
    if name in _SUBMODULES:
        try:
            return importlib.import_module("." + name, __package__)
        except ModuleNotFoundError as error:
            if error.name != f"{__package__}.{name}":
                raise
            # PyTorch has it, flambeau does not: hasattr() has to say so.
    if name in _LAZY:
        value = getattr(importlib.import_module("." + _LAZY[name], __package__), name)
        globals()[name] = value
        return value
    if name.startswith("_foreach_"):
        return getattr(importlib.import_module("._foreach", __package__), name)
    raise AttributeError(f"module 'torch' has no attribute '{name}' in flambeau {_flambeau_version}")


def __dir__():
    return sorted({*globals(), *_SUBMODULES, *_LAZY})


from . import _tensor  # noqa: E402

_tensor.install(Tensor)

torch = importlib.import_module(__package__)  # programs have been seen to write torch.torch
