"""Between PyTorch's objects and the peer's: tensors by their bytes, everything else by its name."""

import functools
import importlib
import inspect
import os
import types

import torch

PEER_NAME = os.environ.get("FLAMBEAU_CONFORMANCE_PEER", "flambeau")
peer = importlib.import_module(PEER_NAME)


class Untranslatable(Exception):
    """A sample that holds something the harness does not carry over (a sparse tensor, say)."""


class Missing(Exception):
    """The peer lacks the operator."""


def lookup(path: str) -> object:
    """The peer's object of that dotted name, `nn.functional.relu`; raises Missing with the part that is absent."""
    found: object = peer
    for index, part in enumerate(path.split(".")):
        try:
            found = getattr(found, part)
        except (AttributeError, ImportError):
            where = ".".join([PEER_NAME, *path.split(".")[: index + 1]])
            raise Missing(f"{where} does not exist") from None
    return found


def named(value: object) -> object:
    """The peer's counterpart of a value that prints as `torch.<name>`: a dtype, layout or memory format."""
    return lookup(str(value).removeprefix("torch."))


def _from_bytes(raw: bytes, dtype: object, count: int) -> object:
    """A peer's tensor of one dimension that owns its memory (so that it can be resized), with these bytes."""
    if peer is torch:
        return torch.frombuffer(bytearray(raw), dtype=dtype).clone()
    tensor = peer.empty_strided((count,), (1,), dtype=dtype)
    memoryview(tensor.untyped_storage())[:] = raw
    return tensor


def _to_bytes(tensor: object) -> bytearray:
    """The bytes of a fresh, contiguous tensor."""
    if peer is torch:
        return bytearray(tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8).numpy().tobytes())
    return bytearray(memoryview(tensor.untyped_storage())[: tensor.numel() * tensor.element_size()])


def to_peer_tensor(tensor: torch.Tensor, memo: dict) -> object:
    """A tensor of the peer with the same bytes, sizes, strides, offset and `requires_grad`, in memory of its own.

    Tensors that share memory go on sharing it, as far as `memo` has seen them.
    """
    if tensor.layout != torch.strided:
        return _to_peer_sparse(tensor, memo)
    if tensor.is_quantized or tensor.is_nested:
        raise Untranslatable("a quantized or nested tensor")
    if tensor.device.type not in ("cpu", "meta"):
        raise Untranslatable(f"a tensor on {tensor.device}")
    source = tensor.detach().resolve_conj().resolve_neg()
    dtype = named(source.dtype)
    storage = source.untyped_storage()
    if tensor.device.type == "meta" or storage.nbytes() < source.element_size() or source.numel() == 0:
        device = str(tensor.device)
        result = peer.empty_strided(tuple(source.shape), source.stride(), dtype=dtype, device=device)
    else:
        key = (storage.data_ptr(), source.dtype)
        if key not in memo:
            count = storage.nbytes() // source.element_size()
            memory = torch.empty(0, dtype=source.dtype).set_(storage, 0, (count,), (1,))
            raw = memory.view(torch.uint8).numpy().tobytes()
            memo[key] = (
                _from_bytes(raw, dtype, count),
                source,
            )  # `source` too, so that its address stays taken
        result = memo[key][0].as_strided(tuple(source.shape), source.stride(), source.storage_offset())
    return result.requires_grad_() if tensor.requires_grad else result


def _to_peer_sparse(tensor: torch.Tensor, memo: dict) -> object:
    """A sparse tensor of the peer on the same parts, coalesced if this one is."""
    source, size = tensor.detach(), tuple(tensor.shape)
    if tensor.layout == torch.sparse_coo:
        indices, values = (to_peer_tensor(part, memo) for part in (source._indices(), source._values()))
        result = peer.sparse_coo_tensor(indices, values, size, is_coalesced=source.is_coalesced())
    else:
        by_row = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
        places = (
            (source.crow_indices(), source.col_indices())
            if by_row
            else (source.ccol_indices(), source.row_indices())
        )
        starts, plain, values = (to_peer_tensor(part, memo) for part in (*places, source.values()))
        result = peer.sparse_compressed_tensor(starts, plain, values, size, layout=named(tensor.layout))
    return result.requires_grad_() if tensor.requires_grad else result


def to_torch_tensor(tensor: object) -> torch.Tensor:
    """The peer's tensor as PyTorch's, contiguous."""
    dtype = getattr(torch, str(tensor.dtype).removeprefix("torch."))
    shape = tuple(tensor.shape)
    if tensor.device.type == "meta":
        return torch.empty(shape, dtype=dtype, device="meta")
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    if str(tensor.layout) != "torch.strided":
        tensor = tensor.to_dense()
    tensor = tensor.detach()
    for lazy in ("resolve_conj", "resolve_neg"):
        tensor = getattr(tensor, lazy)() if hasattr(tensor, lazy) else tensor
    raw = _to_bytes(tensor.contiguous().clone())
    return torch.frombuffer(raw, dtype=dtype).reshape(shape)


def to_peer(value: object, memo: dict | None = None) -> object:
    """`value` with everything of PyTorch's inside replaced. One tensor that appears twice stays one tensor."""
    memo = {} if memo is None else memo
    if isinstance(value, torch.Tensor):
        if id(value) not in memo:
            memo[id(value)] = (to_peer_tensor(value, memo), value)  # `value` too, so that its id stays taken
        return memo[id(value)][0]
    if isinstance(value, torch.Size):
        return lookup("Size")([to_peer(item, memo) for item in value])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tuple(to_peer(item, memo) for item in value)
    if isinstance(value, list | tuple):
        return type(value)(to_peer(item, memo) for item in value)
    if isinstance(value, dict):
        return {key: to_peer(item, memo) for key, item in value.items()}
    if isinstance(value, slice):
        return slice(*(to_peer(part, memo) for part in (value.start, value.stop, value.step)))
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return named(value)
    if isinstance(value, torch.device):
        return lookup("device")(str(value))
    if isinstance(value, torch.Generator):
        generator = lookup("Generator")()
        generator.manual_seed(value.initial_seed())
        return generator
    if callable(value) and value.__hash__ is not None:
        return function_for_peer(value)
    return value


def _set_seed(function, *args, **kwargs):
    """The peer's part of the database's own `wrapper_set_seed`."""
    peer.manual_seed(42)
    return function(*args, **kwargs)


@functools.cache
def function_for_peer(function: object) -> object:
    """The same function on the peer.

    A function of PyTorch's is found by its name. One of the database (often a lambda around `torch.name(...)`) is made
    anew with the same code, in whose globals and closure PyTorch's modules are the peer's.
    """
    if isinstance(function, type) and not function.__module__.startswith("torch"):
        return function
    if isinstance(function, functools.partial):
        keywords = {key: to_peer(value) for key, value in function.keywords.items()}
        return functools.partial(function_for_peer(function.func), *map(to_peer, function.args), **keywords)
    name = getattr(function, "__name__", "")
    module = getattr(function, "__module__", None) or ""
    if name == "wrapper_set_seed":
        return _set_seed
    if isinstance(function, types.FunctionType) and module.startswith("torch.testing"):
        return _rewritten(function)
    for path in _paths(function):
        return lookup(path)
    if isinstance(function, torch.nn.Module):
        return _module_for_peer(function)
    if module.startswith("torch"):
        raise Missing(f"{module}.{name} has no public name to look for")
    return function


def _module_for_peer(module: torch.nn.Module) -> object:
    """The peer's module of the same class and settings."""
    if module.state_dict() or next(module.children(), None) is not None:
        raise Untranslatable(f"a {type(module).__name__} module with values or parts")
    settings = inspect.signature(type(module)).parameters
    # PairwiseDistance keeps its `p` as `norm`.
    values = {name: getattr(module, name, getattr(module, "norm", None)) for name in settings}
    return lookup(f"nn.{type(module).__name__}")(**to_peer(values))


_NAMESPACES = (
    "nn.functional",
    "linalg",
    "fft",
    "special",
    "nn.init",
    "masked",
    "nn.utils.rnn",
    "optim.lr_scheduler",
)


def _paths(function: object) -> list[str]:
    """The public dotted names, below `torch`, at which PyTorch keeps this very function."""
    if isinstance(function, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        return [f"ops.{function}"]
    name = getattr(function, "__name__", "")
    if not name:
        return []
    found = []
    for prefix in ("", *_NAMESPACES, "Tensor"):
        owner: object = torch
        for part in filter(None, prefix.split(".")):
            owner = getattr(owner, part)
        for candidate in dict.fromkeys((name, name.removeprefix(prefix.rpartition(".")[2] + "_"))):
            if getattr(owner, candidate, None) is function:
                found.append(f"{prefix}.{candidate}".lstrip("."))
    return found


def _rewritten(function: types.FunctionType) -> types.FunctionType:
    def names(code: types.CodeType) -> set[str]:
        inner = [names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
        return set(code.co_names).union(*inner)

    def translate(value: object) -> object:
        if isinstance(value, types.ModuleType) and (value.__name__ + ".").startswith("torch."):
            path = value.__name__.partition(".")[2]
            if path.startswith("testing"):
                return value
            return lookup(path) if path else peer
        return to_peer(value)

    scope = dict(function.__globals__)
    for name in names(function.__code__):
        if name in scope:
            scope[name] = translate(scope[name])
    closure = tuple(types.CellType(translate(cell.cell_contents)) for cell in function.__closure__ or ())
    defaults = to_peer(function.__defaults__)
    result = types.FunctionType(function.__code__, scope, function.__name__, defaults, closure)
    result.__kwdefaults__ = to_peer(function.__kwdefaults__)
    return result
