"""Element by element, and reductions: what the memory, or vectors of arithmetic, limit."""

from collections.abc import Callable

from .registry import MILLION, workload


def _pointwise(
    name: str, size: int, function: Callable, inputs: int = 1, target: float | None = None
) -> None:
    large = size >= MILLION  # else the data stays in the cache, where arithmetic is the limit
    count = f"{size // MILLION}M" if large else f"{size // 1000}k"

    @workload(f"{name}, {count}", target=target, bytes=4.0 * size * (inputs + 1) if large else None)
    def prepare(torch):
        torch.manual_seed(0)
        data = [torch.rand(size) + 0.25 for _ in range(inputs)]
        return lambda: function(torch, *data)


_pointwise("a + b", MILLION, lambda torch, a, b: a + b, inputs=2)
_pointwise("a + b", 10 * MILLION, lambda torch, a, b: a + b, inputs=2, target=5)
_pointwise("a * 2 + 1", MILLION, lambda torch, a: a * 2 + 1)
_pointwise("clamp", 10 * MILLION, lambda torch, a: a.clamp(0.3, 0.9), target=5)
_pointwise("sigmoid", 10 * MILLION, lambda torch, a: a.sigmoid(), target=5)
_pointwise("relu", 10 * MILLION, lambda torch, a: a.relu())
_pointwise("exp", MILLION, lambda torch, a: a.exp(), target=4)
_pointwise("tanh", MILLION, lambda torch, a: a.tanh(), target=6)
_pointwise("log", MILLION, lambda torch, a: a.log(), target=3)
_pointwise("sin", MILLION, lambda torch, a: a.sin(), target=3)
for _name in ("exp", "tanh", "log", "sin"):
    for _size in (10_000, 100_000):
        _pointwise(_name, _size, lambda torch, a, name=_name: getattr(torch, name)(a))
_pointwise("gelu", MILLION, lambda torch, a: torch.nn.functional.gelu(a))
_pointwise("a == b", MILLION, lambda torch, a, b: a == b, inputs=2)


@workload("add with out=, 10M", bytes=120e6)
def add_out(torch):
    a, b, out = (torch.rand(10 * MILLION) for _ in range(3))
    return lambda: torch.add(a, b, out=out)


@workload("broadcast add (4096, 1024) + (1024,)", bytes=2 * 4 * 4096 * 1024)
def broadcast_add(torch):
    a, b = torch.rand(4096, 1024), torch.rand(1024)
    return lambda: a + b


@workload("where, 1M", target=5, bytes=13e6)
def where(torch):
    a, b = torch.rand(MILLION), torch.rand(MILLION)
    mask = a > b
    return lambda: torch.where(mask, a, b)


@workload("masked_fill, 1M", target=5, bytes=9e6)
def masked_fill(torch):
    a = torch.rand(MILLION)
    mask = a > 0.5
    return lambda: a.masked_fill(mask, 0.0)


@workload("strided add, (1024, 1024) of every other column", target=5, bytes=20e6)
def strided_add(torch):
    a, b = torch.rand(1024, 2048)[:, ::2], torch.rand(1024, 2048)[:, ::2]
    return lambda: a + b


# What no cache holds is bound by the lines that are fetched, which is the same for both; results above 32 MB meet fresh
# pages in PyTorch at every run, smaller ones only until something as large has been freed before.
@workload("strided add, x[::2] + y[::2], 10k", target=5)
def strided_add_in_cache(torch):
    x, y = torch.rand(20_000), torch.rand(20_000)
    return lambda: x[::2] + y[::2]


@workload("strided add, x[::2] + y[::2], 10M", target=5, bytes=200e6)
def strided_add_large(torch):
    x, y = torch.rand(20 * MILLION), torch.rand(20 * MILLION)
    return lambda: x[::2] + y[::2]


@workload("strided add, a[:, :, 0] + b[:, :, 1] of (1000, 1000, 10)", target=5, bytes=84e6)
def strided_add_of_one_in_ten(torch):
    a, b = torch.rand(1000, 1000, 10), torch.rand(1000, 1000, 10)
    return lambda: a[:, :, 0] + b[:, :, 1]


for _size in (1024, 2048):

    @workload(f"a + b.t(), ({_size}, {_size})", target=5, bytes=3 * 4 * _size * _size)
    def transposed_add(torch, size=_size):
        a, b = torch.rand(size, size), torch.rand(size, size)
        return lambda: a + b.t()


@workload("contiguous + channels_last, (16, 64, 56, 56)", bytes=3 * 4 * 16 * 64 * 56 * 56)
def mixed_formats(torch):
    a = torch.rand(16, 64, 56, 56)
    b = torch.rand(16, 64, 56, 56).to(memory_format=torch.channels_last)
    return lambda: a + b


@workload("copy of a transpose, (2048, 2048)", target=5, bytes=2 * 4 * 2048 * 2048)
def transpose_copy(torch):
    a = torch.rand(2048, 2048)
    return lambda: a.t().contiguous()


@workload("float32 to float16, 100k")
def cast_in_cache(torch):
    a = torch.rand(100_000)
    return lambda: a.half()


@workload("float32 to float16, 10M", bytes=60e6)
def cast(torch):
    a = torch.rand(10 * MILLION)
    return lambda: a.half()


# --- reductions ------------------------------------------------------------------------------------------


def _reduction(name: str, function: Callable, target: float | None = None, size: int = 4096) -> None:
    @workload(f"{name}, ({size}, {size})", target=target, bytes=4.0 * size * size)
    def prepare(torch):
        torch.manual_seed(0)
        data = torch.rand(size, size)
        return lambda: function(data)


_reduction("sum over all", lambda a: a.sum(), target=1)
_reduction("sum over dim 0", lambda a: a.sum(0), target=2)
_reduction("sum over dim 1", lambda a: a.sum(1), target=1)
_reduction("max over all", lambda a: a.max(), size=2048)
_reduction("argmax over dim 0", lambda a: a.argmax(0), target=5, size=1024)
_reduction("argmax over dim 1", lambda a: a.argmax(1), size=1024)
_reduction("var over dim 1", lambda a: a.var(1), target=5, size=1024)
_reduction("mean over dim 0", lambda a: a.mean(0), size=1024)
_reduction("cumsum over dim 1", lambda a: a.cumsum(1), size=1024)
_reduction("norm", lambda a: a.norm(), size=1024)
