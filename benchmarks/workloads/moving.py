"""Moving data about: joining, indexing, sorting, drawing."""

from .registry import MILLION, workload


@workload("cat of 10, 10M in all", target=5, bytes=80e6)
def cat(torch):
    parts = [torch.rand(MILLION) for _ in range(10)]
    return lambda: torch.cat(parts)


@workload("x[index], 1M of 1M", bytes=16e6)
def gather_rows(torch):
    x, index = torch.rand(MILLION), torch.randint(MILLION, (MILLION,))
    return lambda: x[index]


@workload("x[mask], 1M")
def boolean_index(torch):
    x = torch.rand(MILLION)
    mask = x > 0.5
    return lambda: x[mask]


@workload("index_add_, 100k rows of 16")
def index_add(torch):
    x, index, rows = torch.zeros(1000, 16), torch.randint(1000, (100_000,)), torch.rand(100_000, 16)
    return lambda: x.index_add_(0, index, rows)


@workload("sort, 1M")
def sort(torch):
    x = torch.rand(MILLION)
    return lambda: x.sort()


@workload("topk 10 of (1000, 1000)")
def topk(torch):
    x = torch.rand(1000, 1000)
    return lambda: x.topk(10)


@workload("rand, 1M")
def rand(torch):
    return lambda: torch.rand(MILLION)


@workload("randn, 1M")
def randn(torch):
    return lambda: torch.randn(MILLION)


@workload("randperm, 100k")
def randperm(torch):
    return lambda: torch.randperm(100_000)


@workload("dropout, 1M")
def dropout(torch):
    x = torch.rand(MILLION)
    return lambda: torch.nn.functional.dropout(x, 0.5)
