"""The suite of names: what PyTorch's modules offer publicly has to exist here, or stand in docs/missing-names.md."""

import functools
import importlib
import types

import torch

from tests.missing_names import documented, exists

NAMESPACES = """
nn nn.functional nn.init nn.parameter nn.modules nn.parallel nn.grad nn.attention nn.attention.bias
nn.utils nn.utils.clip_grad nn.utils.convert_parameters nn.utils.fusion nn.utils.init nn.utils.memory_format
nn.utils.parametrizations nn.utils.parametrize nn.utils.prune nn.utils.rnn nn.utils.spectral_norm nn.utils.stateless
nn.utils.weight_norm
optim optim.lr_scheduler optim.swa_utils optim.optimizer
optim.adadelta optim.adagrad optim.adam optim.adamax optim.adamw optim.asgd optim.lbfgs optim.nadam optim.radam
optim.rmsprop optim.rprop optim.sgd optim.sparse_adam
utils.data utils.data.dataloader utils.data.dataset utils.data.distributed utils.data.sampler
utils.checkpoint utils.hooks sparse
autograd autograd.anomaly_mode autograd.forward_ad autograd.function autograd.functional autograd.grad_mode
autograd.gradcheck autograd.graph autograd.variable func
distributed.distributed_c10d distributed.device_mesh distributed.nn.functional distributed.optim distributed.rendezvous
distributed.tensor.experimental distributed.algorithms.ddp_comm_hooks.default_hooks distributed.algorithms.join
distributed.elastic.multiprocessing.errors futures nn.parallel.distributed
utils._pytree utils.benchmark utils.module_tracker overrides library cpu profiler testing
""".split()
# Public by spelling alone: what nn.functional imports for itself.
_IMPORTED = ("torch._jit_internal", "torch.overrides", "torch._C")


@functools.cache
def entries() -> dict[str, list[str]]:
    return {namespace: ["names"] for namespace in NAMESPACES}


def reason(name: str) -> None:
    return None


def public_names(namespace: str) -> list[str]:
    """`__all__` of PyTorch's module; where it has none, the functions and classes that are its own."""
    module = importlib.import_module(f"torch.{namespace}")
    if hasattr(module, "__all__"):
        return sorted(set(module.__all__))
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and _is_own(module, name, value)
    )


def _is_own(module: types.ModuleType, name: str, value: object) -> bool:
    home = getattr(value, "__module__", "") or ""
    if isinstance(value, types.ModuleType) or not callable(value) or home in _IMPORTED:
        return False
    if module is torch.nn:  # a package of classes that come from its parts
        return home.startswith("torch.nn.")
    return home == module.__name__ or (
        module is torch.nn.functional and isinstance(value, types.BuiltinFunctionType)
    )


def check(name: str, part: str) -> tuple[str, str]:
    absent = [f"{name}.{item}" for item in public_names(name) if not exists(name, item)]
    unexplained = [path for path in absent if not documented(path)]
    if unexplained:
        return "FAIL", f"{len(unexplained)} neither exist nor are documented: {' '.join(unexplained)}"
    return "PASS", ""
