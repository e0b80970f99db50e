"""Normalisation, softmax, losses, embeddings, attention."""

from collections.abc import Callable

from .registry import MILLION, workload


@workload("batch_norm forward and backward, 16x64x28x28")
def batch_norm(torch):
    layer, x = torch.nn.BatchNorm2d(64), torch.rand(16, 64, 28, 28, requires_grad=True)

    def run():
        layer(x).sum().backward()
        layer.weight.grad = layer.bias.grad = x.grad = None

    return run


@workload("softmax, (1024, 1000)", bytes=2 * 4 * 1024 * 1000)
def softmax(torch):
    x = torch.rand(1024, 1000)
    return lambda: torch.softmax(x, -1)


@workload("layer_norm, (1024, 768)", bytes=2 * 4 * 1024 * 768)
def layer_norm(torch):
    x, weight, bias = torch.rand(1024, 768), torch.rand(768), torch.rand(768)
    return lambda: torch.nn.functional.layer_norm(x, (768,), weight, bias)


def _normalisation(
    name: str, shape: tuple[int, ...], function: Callable, sizes: tuple[int, ...], target: float
) -> None:
    @workload(f"{name} forward and backward, {'x'.join(map(str, shape))}", target=target)
    def prepare(torch):
        torch.manual_seed(0)
        operands = [torch.rand(*shape, requires_grad=True)]
        operands += [torch.rand(size, requires_grad=True) for size in sizes]
        weights = torch.rand(*shape)

        def run():
            function(torch, *operands).backward(weights)
            for operand in operands:
                operand.grad = None

        return run


_normalisation("softmax", (1024, 1000), lambda torch, x: torch.softmax(x, -1), (), target=2)
_normalisation("log_softmax", (1024, 1000), lambda torch, x: torch.log_softmax(x, -1), (), target=2)
_normalisation(
    "layer_norm",
    (1024, 768),
    lambda torch, x, weight, bias: torch.nn.functional.layer_norm(x, (768,), weight, bias),
    (768, 768),
    target=2,
)
_normalisation(
    "rms_norm",
    (1024, 768),
    lambda torch, x, weight: torch.nn.functional.rms_norm(x, (768,), weight),
    (768,),
    target=2,
)
_normalisation(
    "group_norm",
    (8, 64, 28, 28),
    lambda torch, x, weight, bias: torch.nn.functional.group_norm(x, 8, weight, bias),
    (64, 64),
    target=1,
)
_normalisation(
    "instance_norm",
    (8, 64, 28, 28),
    lambda torch, x, weight, bias: torch.nn.functional.instance_norm(x, weight=weight, bias=bias),
    (64, 64),
    target=2,
)


def _loss_of_difference(name: str) -> None:
    @workload(f"{name}, 1M", bytes=8e6)
    def forward(torch):
        x, y = torch.rand(MILLION), torch.rand(MILLION)
        return lambda: getattr(torch.nn.functional, name)(x, y)

    @workload(f"{name} forward and backward, 1M", bytes=20e6)
    def backward(torch):
        x, y = torch.rand(MILLION, requires_grad=True), torch.rand(MILLION)
        return lambda: torch.autograd.grad(getattr(torch.nn.functional, name)(x, y), x)


for _name in ("mse_loss", "smooth_l1_loss"):
    _loss_of_difference(_name)


@workload("pdist, 500x64")
def pdist(torch):
    x = torch.rand(500, 64)
    return lambda: torch.pdist(x)


@workload("cross_entropy forward and backward, (256, 32000)", target=2)
def cross_entropy_of_words(torch):
    logits, target = torch.rand(256, 32000, requires_grad=True), torch.randint(32000, (256,))

    def run():
        torch.nn.functional.cross_entropy(logits, target).backward()
        logits.grad = None

    return run


@workload("cross_entropy forward and backward, (1024, 1000)")
def cross_entropy(torch):
    logits, target = torch.rand(1024, 1000, requires_grad=True), torch.randint(1000, (1024,))

    def run():
        torch.nn.functional.cross_entropy(logits, target).backward()
        logits.grad = None

    return run


@workload("embedding forward and backward, 10000x128, 2048 rows")
def embedding(torch):
    table, index = torch.nn.Embedding(10000, 128), torch.randint(10000, (2048,))

    def run():
        table(index).sum().backward()
        table.weight.grad = None

    return run


@workload("embedding_bag, 1024 sums of 32 of 50000x64")
def embedding_bag(torch):
    table, index = torch.rand(50_000, 64), torch.randint(50_000, (1024, 32))
    return lambda: torch.nn.functional.embedding_bag(index, table, mode="sum")


@workload("embedding_bag forward and backward, 256 means of 32 of 10000x64")
def embedding_bag_backward(torch):
    table, index = torch.rand(10_000, 64, requires_grad=True), torch.randint(10_000, (256, 32))
    g = torch.ones(256, 64)
    return lambda: torch.autograd.grad(torch.nn.functional.embedding_bag(index, table), table, g)


def _attention(
    name: str, shape: tuple[int, ...], causal: bool, gradient: bool, target: float | None = None
) -> None:
    batch, heads, length, size = shape
    flops = 2.0 * 2 * batch * heads * length**2 * size * (3.5 if gradient else 1) / (2 if causal else 1)

    @workload(f"attention{name}, {'x'.join(map(str, shape))}", target=target, flops=flops)
    def prepare(torch):
        torch.manual_seed(0)
        operands = [torch.rand(*shape, requires_grad=gradient) for _ in range(3)]

        def run():
            output = torch.nn.functional.scaled_dot_product_attention(*operands, is_causal=causal)
            if gradient:
                output.sum().backward()
                for operand in operands:
                    operand.grad = None

        return run


_attention(", causal", (1, 12, 512, 64), causal=True, gradient=False, target=2)
_attention("", (1, 12, 512, 64), causal=False, gradient=False)
_attention(", causal, forward and backward", (1, 12, 512, 64), causal=True, gradient=True, target=2)
_attention(", causal, forward and backward", (4, 4, 32, 16), causal=True, gradient=True)


@workload("TransformerEncoderLayer, training step, 8x64x128")
def encoder_layer(torch):
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(128, 4, 256, dropout=0.0, batch_first=True)
    x = torch.rand(8, 64, 128)

    def run():
        layer.zero_grad()
        layer(x).square().mean().backward()

    return run
