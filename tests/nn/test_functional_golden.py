"""The functions of nn.functional against PyTorch: values, dtypes, shapes and gradients."""

import pytest
from peer import as_tuple, assert_same, to_flambeau, torch_or_skip, weighted_sum

import flambeau

torch = pytest.importorskip("torch", reason="PyTorch, the peer of golden comparisons, is not installed")

CASES = []


def randn(*shape):
    return torch.randn(*shape, generator=_GENERATOR, requires_grad=True)


def rand(*shape):
    return torch.rand(*shape, generator=_GENERATOR)


def case(name, *args, **kwargs):
    CASES.append(pytest.param(name, args, kwargs, id=f"{name}-{len(CASES)}"))


_GENERATOR = torch.Generator().manual_seed(0)
x = randn(4, 6)

for name in (
    "relu relu6 selu celu elu silu mish hardsigmoid hardswish softplus logsigmoid hardshrink softshrink tanhshrink "
    "softsign tanh sigmoid glu gelu hardtanh leaky_relu"
).split():
    case(name, x * 3)
case("gelu", x, approximate="tanh")
case("threshold", x, 0.1, 5.0)
case("prelu", x, randn(6))
case("rrelu", x)
case("softplus", x * 20, 2.0, 5.0)
for name in ("softmax", "softmin", "log_softmax"):
    case(name, x, 1)
    case(name, x, 0, dtype=torch.float64)
case("linear", x, randn(3, 6), randn(3))
case("linear", randn(2, 4, 6), randn(3, 6))
case("bilinear", x, randn(4, 5), randn(3, 6, 5), randn(3))
case("one_hot", torch.tensor([[0, 2], [1, 1]]))
table, index = randn(10, 3), torch.tensor([[1, 2, 2], [4, 1, 9]])
case("embedding", index, table)
case("embedding", index, table, 2)
case("embedding", index, table, scale_grad_by_freq=True)
for mode in ("sum", "mean", "max"):
    case("embedding_bag", index, table, mode=mode)
    case("embedding_bag", index.view(-1), table, torch.tensor([0, 2, 2]), mode=mode, padding_idx=1)
case("conv1d", randn(2, 4, 9), randn(6, 2, 3), randn(6), 2, 1, 1, 2)
case("conv1d", randn(4, 9), randn(6, 4, 4), None, 1, "same")
case("conv2d", randn(2, 4, 9, 8), randn(6, 4, 3, 4), randn(6), 1, "same", 2)
case("conv2d", randn(2, 4, 9, 8), randn(6, 4, 3, 3), randn(6), 2, 1)
case("conv3d", randn(2, 4, 5, 6, 7), randn(2, 4, 3, 2, 3), None, (1, 2, 1), 1)
case("conv_transpose1d", randn(4, 5), randn(4, 3, 3))
case("conv_transpose2d", randn(2, 4, 5, 6), randn(4, 3, 3, 3), randn(6), 2, 1, 1, 2, 1)
case("conv_transpose3d", randn(1, 2, 3, 3, 3), randn(2, 3, 3, 3, 3))
for mode in ("constant", "reflect", "replicate", "circular"):
    case("pad", randn(2, 3, 5), (1, 2), mode)
    case("pad", randn(2, 3, 5, 6), (1, -2, -1, 1), mode)
case("pad", randn(3, 4), (1, 1, 2, 2), "constant", 3.0)
case("unfold", randn(2, 3, 6, 7), (2, 3), 1, 1, 2)
case("fold", randn(2, 12, 20), (5, 6), 2)
for settings in ({"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, {"kernel_size": 2}):
    for n, shape in ((1, (2, 3, 11)), (2, (2, 3, 11, 10)), (3, (3, 5, 6, 4))):
        case(f"avg_pool{n}d", randn(*shape), **settings)
        case(f"avg_pool{n}d", randn(*shape), **settings, count_include_pad=False)
        case(f"max_pool{n}d", randn(*shape), **settings, return_indices=True)
        case(f"max_pool{n}d", randn(*shape), **settings, dilation=2)
for n, shape in ((1, (2, 3, 11)), (2, (2, 3, 11, 10)), (3, (3, 5, 6, 4))):
    case(f"adaptive_avg_pool{n}d", randn(*shape), 3)
    case(f"adaptive_max_pool{n}d", randn(*shape), 3, return_indices=True)
    case(f"lp_pool{n}d", rand(*shape) + 0.1, 2.0, 2)
y = randn(4, 6, 5)
for training in (True, False):
    case("batch_norm", y, torch.zeros(6), torch.ones(6), randn(6), randn(6), training)
case("instance_norm", y, None, None, randn(6), randn(6))
case("layer_norm", y, (5,), randn(5), randn(5))
case("group_norm", y, 3, randn(6), randn(6))
case("rms_norm", y, (5,), randn(5))
case("local_response_norm", randn(2, 7, 4), 4, 0.1, 0.5, 2.0)
case("normalize", y)
case("pairwise_distance", x, randn(4, 6))
case("cosine_similarity", x, randn(4, 6))
case("pdist", x)
case("pixel_shuffle", randn(2, 8, 3, 2), 2)
case("pixel_unshuffle", randn(2, 2, 6, 4), 2)
case("channel_shuffle", randn(2, 6, 3), 3)
for size in (7, 3):
    case("interpolate", randn(2, 3, 5), size, mode="linear")
    case("interpolate", randn(1, 2, 5, 6), size, mode="bilinear")
    case("interpolate", randn(1, 2, 5, 6), size, mode="bilinear", align_corners=True)
    case("interpolate", randn(1, 2, 5, 6), size, mode="bicubic")
    case("interpolate", randn(1, 2, 5, 6), size, mode="bicubic", antialias=True)
    case("interpolate", randn(1, 2, 5, 6), size, mode="bilinear", antialias=True)
    case("interpolate", randn(1, 2, 3, 5, 6), size, mode="trilinear")
    case("interpolate", randn(1, 2, 5, 6), size, mode="nearest-exact")
    case("interpolate", randn(1, 2, 5, 6), size, mode="area")
case("interpolate", randn(1, 2, 5, 6), scale_factor=1.7, mode="bilinear")
case("interpolate", randn(1, 2, 5, 6), scale_factor=(1.7, 0.6), mode="nearest")
case("interpolate", randn(1, 2, 5, 6), scale_factor=0.6, mode="bicubic", recompute_scale_factor=True)
target = torch.tensor([0, 5, 2, 2])
signs = torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0, -1.0]] * 4)
for reduction in ("mean", "sum", "none"):
    how = {"reduction": reduction}
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        case(name, x, randn(4, 6), **how)
    case("soft_margin_loss", x, signs, **how)
    case("nll_loss", x, target, rand(6), ignore_index=2, **how)
    for weight in (None, rand(6)):
        case("cross_entropy", x, target, weight, ignore_index=5, label_smoothing=0.1, **how)
        case("cross_entropy", x, rand(4, 6), weight, label_smoothing=0.1, **how)
        case("cross_entropy", randn(2, 6, 3), torch.tensor([[0, 1, 2], [3, 4, 5]]), weight, **how)
    case("binary_cross_entropy", rand(4, 6).requires_grad_(), rand(4, 6), **how)
    case("binary_cross_entropy_with_logits", x * 10, rand(4, 6), rand(6), pos_weight=rand(6), **how)
    case("kl_div", x, rand(4, 6), **how)
    case("poisson_nll_loss", x, rand(4, 6) * 4, full=True, **how)
    case("gaussian_nll_loss", x, randn(4, 6), rand(4, 6) + 0.1, full=True, **how)
    case("hinge_embedding_loss", x, signs, **how)
    case("margin_ranking_loss", x, randn(4, 6), signs, 0.3, **how)
    case("cosine_embedding_loss", x, randn(4, 6), signs[:, 0].clone(), 0.1, **how)
    case("multi_margin_loss", x, target, 2, 0.5, rand(6), **how)
    case("multilabel_margin_loss", x[:2], torch.tensor([[1, 2, -1, 3, 4, 5], [0, -1, 0, 0, 0, 0]]), **how)
    case("multilabel_soft_margin_loss", x, rand(4, 6), rand(6), **how)
    case("triplet_margin_loss", x, randn(4, 6), randn(4, 6), swap=True, **how)


def run(library, name, args, kwargs):
    outputs = as_tuple(getattr(library.nn.functional, name)(*args, **kwargs))
    inputs = [a for a in args if isinstance(a, library.Tensor) and a.requires_grad]
    total = weighted_sum(outputs)
    grads = () if isinstance(total, int) else library.autograd.grad(total, inputs, allow_unused=True)
    return outputs, grads


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "args", "kwargs"), CASES)
def test_same_as_pytorch(name, args, kwargs):
    args = tuple(
        a.detach().clone().requires_grad_(a.requires_grad) if isinstance(a, torch.Tensor) else a for a in args
    )
    ours = tuple(to_flambeau(a) for a in args)
    our_kwargs = {k: flambeau.float64 if v is torch.float64 else to_flambeau(v) for k, v in kwargs.items()}
    expected, expected_grads = run(torch_or_skip(), name, args, kwargs)
    outputs, grads = run(flambeau, name, ours, our_kwargs)
    assert len(outputs) == len(expected)
    for mine, theirs in zip(outputs, expected, strict=True):
        assert_same(mine, theirs, atol=5e-6)
    for mine, theirs in zip(grads, expected_grads, strict=True):
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            assert_same(mine, theirs, rtol=1e-4, atol=1e-5)
