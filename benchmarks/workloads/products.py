"""Matrix products."""

from .registry import workload


def _product(size: int, dtype: str = "float32", target: float | None = None) -> None:
    @workload(f"matrix product {dtype} {size}", target=target, flops=2.0 * size**3)
    def prepare(torch):
        torch.manual_seed(0)
        a, b = (torch.rand(size, size).to(getattr(torch, dtype)) for _ in range(2))
        return lambda: a @ b


for _size in (64, 256):
    _product(_size)
for _size in (512, 1024, 2048):
    _product(_size, target=1.9)
_product(1024, "float16")
_product(1024, "bfloat16")
_product(512, "float64")


@workload("bmm (64, 64, 64) x 64", flops=2.0 * 64**4)
def bmm(torch):
    a, b = torch.rand(64, 64, 64), torch.rand(64, 64, 64)
    return lambda: torch.bmm(a, b)


@workload("einsum bij,bkj->bik, 16 x 128", flops=2.0 * 16 * 128**3)
def einsum(torch):
    a, b = torch.rand(16, 128, 128), torch.rand(16, 128, 128)
    return lambda: torch.einsum("bij,bkj->bik", a, b)


@workload("matrix-vector product 2048", bytes=4 * 2048 * 2048)
def matrix_vector(torch):
    a, b = torch.rand(2048, 2048), torch.rand(2048)
    return lambda: a @ b


@workload("linear 64 x 784 -> 128, bfloat16", flops=2.0 * 64 * 784 * 128)
def bfloat16_linear(torch):
    x, weight = torch.rand(64, 784).to(torch.bfloat16), torch.rand(128, 784).to(torch.bfloat16)
    return lambda: torch.nn.functional.linear(x, weight)


@workload("matrix product 8 x 1024 x 1024", flops=2.0 * 8 * 1024**2)
def product_of_few_rows(torch):
    a, b = torch.rand(8, 1024), torch.rand(1024, 1024)
    return lambda: a @ b
