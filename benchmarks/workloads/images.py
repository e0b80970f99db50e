"""Layers of networks on images: convolution, pooling, interpolation."""

from .registry import workload


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
