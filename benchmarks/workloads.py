"""The workloads, each written once against a module that is like `torch`.

A workload is a function of that module which prepares its data and returns the function to be timed. Its name, the
ratio to PyTorch that it has to reach (None: not behind is all that is asked) and its group stand in the decorator.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    name: str
    prepare: Callable
    target: float | None
    flops: float | None  # floating point operations of one run, where the FMA peak is the limit
    bytes: float | None  # bytes that one run has to move, where the memory is


WORKLOADS: dict[str, Workload] = {}


def workload(name: str, target: float | None = None, flops: float | None = None, bytes: float | None = None):
    def register(prepare: Callable) -> Callable:
        assert name not in WORKLOADS, name
        WORKLOADS[name] = Workload(name, prepare, target, flops, bytes)
        return prepare

    return register


MILLION = 1_000_000

# --- one element: the cost of a call ------------------------------------------------------------------------


@workload("add, 1 element", target=4)
def add_one(torch):
    a, b = torch.rand(1), torch.rand(1)
    return lambda: a + b


@workload("add, 1 element, with gradient", target=4)
def add_one_gradient(torch):
    a, b = torch.rand(1, requires_grad=True), torch.rand(1)
    return lambda: a + b


@workload("scalar chain, 40 operations, forward and backward", target=4)
def scalar_chain(torch):
    x = torch.tensor(0.7, requires_grad=True)

    def run():
        y = x
        for _ in range(10):
            y = (y * 1.1 + 0.3).tanh() - x
        y.backward()
        x.grad = None

    return run


@workload("x[3]", target=2)
def integer_index(torch):
    x = torch.rand(16, 16)
    return lambda: x[3]


@workload("chain of views", target=2)
def views(torch):
    x = torch.rand(4, 6, 8)
    return lambda: x.transpose(0, 1).reshape(6, 32)[1:5].unsqueeze(0).permute(2, 0, 1)


@workload("x[2:7, ..., None]")
def slice_index(torch):
    x = torch.rand(16, 16, 4)
    return lambda: x[2:7, ..., None]


@workload("x.sum().item(), 16 elements")
def small_sum(torch):
    x = torch.rand(16)
    return lambda: x.sum().item()


@workload("zeros(3, 4)")
def small_zeros(torch):
    return lambda: torch.zeros(3, 4)


@workload("Linear(16, 16) on one row", target=2.5)
def linear_row(torch):
    layer, x = torch.nn.Linear(16, 16), torch.rand(1, 16)
    return lambda: layer(x)


# --- pointwise ----------------------------------------------------------------------------------------------


def _pointwise(
    name: str, size: int, function: Callable, inputs: int = 1, target: float | None = None
) -> None:
    @workload(f"{name}, {size // MILLION}M", target=target, bytes=4.0 * size * (inputs + 1))
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


@workload("copy of a transpose, (2048, 2048)", target=5, bytes=2 * 4 * 2048 * 2048)
def transpose_copy(torch):
    a = torch.rand(2048, 2048)
    return lambda: a.t().contiguous()


@workload("float32 to float16, 10M", bytes=60e6)
def cast(torch):
    a = torch.rand(10 * MILLION)
    return lambda: a.half()


# --- reductions ---------------------------------------------------------------------------------------------


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


# --- matrix products ----------------------------------------------------------------------------------------


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


# --- layers -------------------------------------------------------------------------------------------------


def _convolution(
    name: str,
    batch: int,
    channels: int,
    out: int,
    size: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    target: float | None = None,
):
    """A 2-d convolution in both layouts, and both its gradients."""
    output = size // stride
    count = 2.0 * batch * out * output * output * (channels // groups) * kernel * kernel
    settings = {"stride": stride, "padding": kernel // 2, "groups": groups}

    def operands(torch, layout):
        torch.manual_seed(0)
        x = torch.rand(batch, channels, size, size).contiguous(memory_format=layout)
        weight = torch.rand(out, channels // groups, kernel, kernel).contiguous(memory_format=layout)
        return x, weight

    shape = f"{name}, {batch}x{channels}x{size}x{size}"

    @workload(f"conv2d {shape}", target=target, flops=count)
    def forward(torch):
        x, weight = operands(torch, torch.contiguous_format)
        convolve = torch.nn.functional.conv2d
        return lambda: convolve(x, weight, **settings)

    @workload(f"conv2d {shape}, channels_last", target=target, flops=count)
    def forward_channels_last(torch):
        x, weight = operands(torch, torch.channels_last)
        convolve = torch.nn.functional.conv2d
        return lambda: convolve(x, weight, **settings)

    for which, gradient in enumerate(("input", "weight")):

        @workload(f"conv2d {shape}, gradient of the {gradient}", target=target, flops=count)
        def backward(torch, which=which):
            pair = operands(torch, torch.contiguous_format)
            wanted = pair[which].requires_grad_(True)
            result = torch.nn.functional.conv2d(*pair, **settings)
            grad = torch.rand(*result.shape)
            return lambda: torch.autograd.grad(result, wanted, grad, retain_graph=True)


# ResNet-18's shapes, and two of MobileNet's depthwise ones.
_convolution("7x7 / 2", 8, 3, 64, 224, 7, stride=2)
for _channels, _size in ((64, 56), (128, 28), (256, 14), (512, 7)):
    _convolution("3x3", 8, _channels, _channels, _size, 3)
    if _channels < 512:
        _convolution("3x3 / 2", 8, _channels, 2 * _channels, _size, 3, stride=2)
        _convolution("1x1 / 2", 8, _channels, 2 * _channels, _size, 1, stride=2)
_convolution("3x3", 1, 128, 128, 28, 3)
_convolution("depthwise 3x3", 4, 128, 128, 56, 3, groups=128, target=2)
_convolution("depthwise 3x3", 4, 512, 512, 14, 3, groups=512, target=2)


@workload("conv2d 3x3 forward and backward, 4x64x28x28", flops=3 * 2.0 * 4 * 64 * 64 * 9 * 28 * 28)
def convolution_backward(torch):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1)
    x = torch.rand(4, 64, 28, 28, requires_grad=True)

    def run():
        layer(x).sum().backward()
        layer.weight.grad = layer.bias.grad = x.grad = None

    return run


@workload("max_pool2d, 8x64x56x56", target=5)
def max_pool(torch):
    x = torch.rand(8, 64, 56, 56)
    return lambda: torch.nn.functional.max_pool2d(x, 2)


@workload("max_pool2d forward and backward, 8x64x56x56", target=5)
def max_pool_backward(torch):
    x = torch.rand(8, 64, 56, 56, requires_grad=True)
    g = torch.ones(8, 64, 28, 28)
    return lambda: torch.autograd.grad(torch.nn.functional.max_pool2d(x, 2), x, g)


@workload("max_pool2d, 8x64x56x56 channels_last")
def max_pool_last(torch):
    x = torch.rand(8, 64, 56, 56).contiguous(memory_format=torch.channels_last)
    return lambda: torch.nn.functional.max_pool2d(x, 2)


@workload("bilinear interpolate to twice the size, 4x16x112x112", target=5)
def bilinear(torch):
    x = torch.rand(4, 16, 112, 112)
    return lambda: torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")


@workload("bilinear interpolate of an image to half the size, 3x480x640", target=5)
def bilinear_image(torch):
    x = torch.rand(1, 3, 480, 640)
    return lambda: torch.nn.functional.interpolate(x, scale_factor=0.5, mode="bilinear")


@workload("bilinear interpolate forward and backward, 4x16x56x56", target=5)
def bilinear_backward(torch):
    x, g = torch.rand(4, 16, 56, 56, requires_grad=True), torch.ones(4, 16, 112, 112)
    return lambda: torch.autograd.grad(
        torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear"), x, g
    )


@workload("grid_sample, 8x32x56x56")
def grid_sample(torch):
    x, grid = torch.rand(8, 32, 56, 56), torch.rand(8, 56, 56, 2) * 2 - 1
    return lambda: torch.nn.functional.grid_sample(x, grid, align_corners=False)


@workload("grid_sample forward and backward, 8x32x56x56")
def grid_sample_backward(torch):
    x, grid = torch.rand(8, 32, 56, 56, requires_grad=True), torch.rand(8, 56, 56, 2) * 2 - 1
    grid.requires_grad_()
    g = torch.ones(8, 32, 56, 56)
    return lambda: torch.autograd.grad(
        torch.nn.functional.grid_sample(x, grid, align_corners=False), (x, grid), g
    )


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


# --- training -----------------------------------------------------------------------------------------------


def _training_step(torch, model, optimizer, x, y, loss_function) -> Callable:
    def step():
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()

    return step


@workload("tiny MLP 16-32-1, batch 8, SGD step", target=3)
def tiny_mlp(torch):
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return _training_step(torch, model, optimizer, torch.rand(8, 16), torch.rand(8, 1), nn.MSELoss())


@workload("MLP 784-128-10, batch 64, Adam step", target=2.5)
def mlp(torch):
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    target = torch.randint(10, (64,))
    return _training_step(torch, model, optimizer, torch.rand(64, 784), target, nn.CrossEntropyLoss())


@workload("convolutional network on 8x8 digits, batch 64, AdamW step")
def digits_network(torch):
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(512, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
    target = torch.randint(10, (64,))
    return _training_step(torch, model, optimizer, torch.rand(64, 1, 8, 8), target, nn.CrossEntropyLoss())


def _recurrent_step(torch, kind, layers, size, batch, steps, train):
    torch.manual_seed(0)
    model = getattr(torch.nn, kind)(size, size, layers)
    x = torch.rand(steps, batch, size)

    def step():
        model.zero_grad()
        model(x)[0].sum().backward()

    @torch.no_grad()
    def infer():
        return model(x)

    return step if train else infer


def _recurrent(kind, layers, size, batch, steps, train=True, target=None):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    products = layers * (6 if train else 2) - train  # the first layer's input has no gradient
    name = f"{kind} {layers}x{size}, batch {batch}, {steps} steps, " + ("training" if train else "inference")
    flops = 2.0 * steps * batch * size * size * gates * products
    workload(name, target=target, flops=flops)(
        lambda torch: _recurrent_step(torch, kind, layers, size, batch, steps, train)
    )


_recurrent("LSTM", 2, 256, 32, 32, target=1.3)
_recurrent("GRU", 2, 256, 32, 32, target=1.3)
_recurrent("RNN", 2, 256, 32, 32)
_recurrent("LSTM", 2, 256, 1, 100, train=False)
_recurrent("GRU", 1, 64, 64, 20)
_recurrent("LSTM", 1, 20, 4, 20, target=2)


@workload("CTC loss of 16 sequences, 100 steps, 30 labels, forward and backward", target=1.5)
def ctc(torch):
    torch.manual_seed(0)
    scores = torch.randn(100, 16, 40).log_softmax(2).requires_grad_()
    targets = torch.randint(1, 40, (16, 30))

    def run():
        scores.grad = None
        torch.nn.functional.ctc_loss(scores, targets, (100,) * 16, (30,) * 16).backward()

    return run


def _optimizer(
    name: str, optimizer: str, shapes: list[tuple[int, ...]], target: float | None = None, **options
) -> None:
    @workload(name, target=target)
    def prepare(torch):
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.rand(*shape)) for shape in shapes]
        for parameter in parameters:
            parameter.grad = torch.rand_like(parameter)
        return getattr(torch.optim, optimizer)(parameters, lr=1e-3, **options).step


_optimizer("AdamW step, 10M in 100 tensors", "AdamW", [(100_000,)] * 100, target=2)
_optimizer("Adam step, 10M in 100 tensors", "Adam", [(100_000,)] * 100, target=2)
_optimizer("AdamW step, 20M in one", "AdamW", [(20 * MILLION,)], target=5)
_optimizer("SGD step, 10M in 100 tensors", "SGD", [(100_000,)] * 100)
_optimizer("SGD with momentum step, 10M in 100 tensors", "SGD", [(100_000,)] * 100, target=1.3, momentum=0.9)
for _name in ("Adadelta", "Adagrad", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop"):
    _optimizer(f"{_name} step, 1M in 100 tensors", _name, [(10_000,)] * 100)


@workload("DataLoader over 1024 samples, batch 32")
def data_loader(torch):
    data = torch.utils.data.TensorDataset(torch.rand(1024, 16), torch.arange(1024))
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    return lambda: [batch for batch in loader]


# --- moving data about --------------------------------------------------------------------------------------


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


from . import data_workloads, func_workloads, sparse_workloads  # noqa: E402, F401 - which register their own
