"""Layers against PyTorch: printed forms, initial values bit for bit, state, outputs in training and evaluation."""

import pytest
from peer import as_tuple, assert_same, to_flambeau, to_torch

import flambeau

torch = pytest.importorskip("torch", reason="PyTorch, the peer of golden comparisons, is not installed")

CASES = []


def case(name, *args, inputs=(), **kwargs):
    CASES.append(pytest.param(name, args, kwargs, inputs, id=f"{name}-{len(CASES)}"))


for name in (
    "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish PReLU ReLU ReLU6 SELU SiLU "
    "Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink"
).split():
    case(name, inputs=[(4, 6)])
for name in ("ELU", "LeakyReLU", "Hardtanh", "ReLU", "SiLU", "RReLU", "ReLU6"):
    case(name, inplace=True)
case("Threshold", 0.1, 2.0, inputs=[(4, 6)])
for name in ("Softmax", "LogSoftmax", "Softmin"):
    case(name, 1, inputs=[(4, 6)])
for n, size in ((1, (9,)), (2, (9, 8)), (3, (5, 6, 4))):
    batch = (2, 4, *size)
    for settings in (
        {},
        {"stride": 2, "padding": 1},
        {"padding": "same", "dilation": 2},
        {"groups": 2, "bias": False},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": "same", "padding_mode": "circular"},
        {"padding": 1, "padding_mode": "replicate"},
    ):
        case(f"Conv{n}d", 4, 6, 3, inputs=[batch], **settings)
    case(f"Conv{n}d", 4, 6, 3, inputs=[batch[1:]])
    case(f"LazyConv{n}d", 6, 3, inputs=[batch])
    case(f"ConvTranspose{n}d", 4, 6, 3, stride=2, padding=1, output_padding=1, inputs=[batch])
    for settings in ({}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}):
        case(f"BatchNorm{n}d", 4, inputs=[batch], **settings)
    case(f"LazyBatchNorm{n}d", inputs=[batch])
    case(f"InstanceNorm{n}d", 4, affine=True, track_running_stats=True, inputs=[batch])
    case(f"MaxPool{n}d", 2, inputs=[batch])
    case(f"AvgPool{n}d", 2, inputs=[batch])
    case(f"AdaptiveAvgPool{n}d", 3, inputs=[batch])
    case(f"Dropout{n}d", 0.3)
    for kind in ("Zero", "Reflection", "Replication", "Circular"):
        case(f"{kind}Pad{n}d", 1, inputs=[batch])
case("Dropout", 0.3, inputs=[(4, 6)])
case("AlphaDropout", 0.3, inputs=[(4, 6)])
case("Linear", 6, 3, inputs=[(4, 6)])
case("Linear", 6, 3, False, inputs=[(6,)])
case("LazyLinear", 3, inputs=[(4, 6)])
case("Bilinear", 6, 5, 3, inputs=[(4, 6), (4, 5)])
case("Identity", 3, inputs=[(4,)])
case("LayerNorm", 6, inputs=[(4, 6)])
case("LayerNorm", 6, bias=False, inputs=[(4, 6)])
case("GroupNorm", 2, 6, inputs=[(2, 6, 4)])
case("RMSNorm", 6, inputs=[(4, 6)])
case("LocalResponseNorm", 3, inputs=[(2, 6, 4)])
for settings in (
    {},
    {"batch_first": True, "dropout": 0.3},
    {"kdim": 6, "vdim": 6, "add_bias_kv": True},
    {"bias": False, "add_bias_kv": True, "add_zero_attn": True},
):
    case("MultiheadAttention", 6, 2, inputs=[(4, 3, 6)] * 3, **settings)
for settings in ({}, {"batch_first": True, "norm_first": True, "activation": "gelu", "bias": False}):
    case("TransformerEncoderLayer", 6, 2, 12, inputs=[(4, 3, 6)], **settings)
    case("TransformerDecoderLayer", 6, 2, 12, inputs=[(4, 3, 6), (4, 3, 6)], **settings)
    case("Transformer", 6, 2, 1, 2, 12, inputs=[(4, 3, 6), (4, 3, 6)], **settings)
case("Embedding", 10, 3)
case("Embedding", 10, 3, padding_idx=-1)
case("EmbeddingBag", 10, 3)
case("Flatten", inputs=[(2, 3, 4)])
case("Unflatten", 1, (2, 3), inputs=[(4, 6)])
case("Fold", (4, 5), 2, inputs=[(2, 12, 12)])
case("Unfold", 2, inputs=[(2, 3, 4, 5)])
case("PixelShuffle", 2, inputs=[(2, 8, 3, 2)])
case("PixelUnshuffle", 2, inputs=[(2, 2, 6, 4)])
case("ChannelShuffle", 3, inputs=[(2, 6, 3)])
case("Upsample", scale_factor=2, mode="bilinear", inputs=[(2, 3, 4, 5)])
case("UpsamplingNearest2d", size=7, inputs=[(2, 3, 4, 5)])
case("UpsamplingBilinear2d", scale_factor=1.5, inputs=[(2, 3, 4, 5)])
for name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss"):
    case(name, inputs=[(4, 6), (4, 6)])
case("CrossEntropyLoss", label_smoothing=0.1)
case("NLLLoss")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "args", "kwargs", "shapes"), CASES)
def test_same_as_pytorch(name, args, kwargs, shapes):
    torch.manual_seed(7)
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    flambeau.manual_seed(7)
    ours = getattr(flambeau.nn, name)(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    inputs = [torch.randn(shape) for shape in shapes]
    for mode in (True, False) if inputs else ():
        torch.manual_seed(1)
        expected = theirs.train(mode)(*inputs)
        flambeau.manual_seed(1)
        output = ours.train(mode)(*(to_flambeau(i) for i in inputs))
        for mine, other in zip(as_tuple(output), as_tuple(expected), strict=True):
            assert_same(mine, other)
        assert repr(ours) == repr(theirs)
    state, expected_state = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected_state)
    for key, value in state.items():
        assert_same(value, expected_state[key])
        if name.startswith(("Multihead", "Transformer")) or key in ("weight", "bias"):
            assert torch.equal(to_torch(value), expected_state[key]), f"initial {key} differs"
