"""What study notes on PyTorch say of layers, losses and optimizers, a test per statement."""

import copy
import math
from collections import OrderedDict

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F

double = torch.float64


def close(actual, expected, tolerance=1e-12):
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max().item() <= tolerance


def randn(*shape, dtype=double):
    return torch.randn(*shape, dtype=dtype)


# convolutions


def conv_by_hand(x, weight, bias, stride, dilation, groups):
    """Convolution of a padded (N, C, L) or (N, C, H, W) input, one output element after the other."""
    spatial = x.dim() - 2
    batch, outs, ins = x.size(0), weight.size(0), weight.size(1)
    sizes = [(x.size(2 + d) - dilation * (weight.size(2 + d) - 1) - 1) // stride + 1 for d in range(spatial)]
    out = torch.zeros(batch, outs, *sizes, dtype=x.dtype)
    for o in range(outs):
        group = o // (outs // groups)
        part = x[:, group * ins : (group + 1) * ins]
        for place in torch.ones(sizes).nonzero().tolist():
            window = [slice(None), slice(None)]
            for d, i in enumerate(place):
                begin = i * stride
                window.append(slice(begin, begin + dilation * (weight.size(2 + d) - 1) + 1, dilation))
            value = (part[tuple(window)] * weight[o]).flatten(1).sum(1)
            out[(slice(None), o, *place)] = value if bias is None else value + bias[o]
    return out


@pytest.mark.parametrize("spatial", [1, 2])
@pytest.mark.parametrize(
    "stride, padding, dilation, groups",
    [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 1), (2, 1, 1, 2), (1, 1, 1, 4)],
)
def test_conv_stride_padding_dilation_groups(spatial, stride, padding, dilation, groups):
    torch.manual_seed(1)
    layer = (nn.Conv1d, nn.Conv2d)[spatial - 1](
        4, 4, 3, stride=stride, padding=padding, dilation=dilation, groups=groups, dtype=double
    )
    assert layer.weight.shape == (4, 4 // groups) + (3,) * spatial
    x = randn(2, 4, *(7, 6)[:spatial])
    padded = F.pad(x, (padding,) * (2 * spatial))
    with torch.no_grad():
        close(layer(x), conv_by_hand(padded, layer.weight, layer.bias, stride, dilation, groups))


def test_conv_padding_as_tuple_and_bias_false():
    layer = nn.Conv2d(1, 1, (1, 2), padding=(1, 2), stride=(1, 2), bias=False, dtype=double)
    assert layer.bias is None
    x = randn(1, 1, 3, 3)
    with torch.no_grad():
        out = layer(x)
        assert out.shape == (1, 1, 5, 3)
        expected = F.pad(x, (2, 2, 1, 1)).unfold(3, 2, 2) @ layer.weight.view(2)
        close(out, expected)


@pytest.mark.parametrize("kernel, dilation", [(3, 1), (4, 1), (3, 2)])
def test_conv_padding_same_and_valid(kernel, dilation):
    torch.manual_seed(2)
    x = randn(1, 2, 9)
    same = nn.Conv1d(2, 3, kernel, padding="same", dilation=dilation, dtype=double)
    assert same(x).shape == (1, 3, 9)
    total = dilation * (kernel - 1)
    padded = F.pad(x, (total // 2, total - total // 2))
    with torch.no_grad():
        close(same(x), conv_by_hand(padded, same.weight, same.bias, 1, dilation, 1))
        valid = F.conv1d(x, same.weight, same.bias, padding="valid", dilation=dilation)
        close(valid, F.conv1d(x, same.weight, same.bias, dilation=dilation))
    assert nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation)(torch.zeros(1, 2, 9, 8)).shape == (
        1,
        3,
        9,
        8,
    )


def test_conv_padding_same_with_a_stride_is_a_value_error():
    for layer in (nn.Conv1d, nn.Conv2d):
        with pytest.raises(ValueError, match="padding='same' is not supported for strided convolutions"):
            layer(1, 1, 3, stride=2, padding="same")
        with pytest.raises(ValueError, match="Invalid padding string 'full'"):
            layer(1, 1, 3, padding="full")
    with pytest.raises(RuntimeError, match="padding='same' is not supported for strided convolutions"):
        F.conv2d(torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 3, 3), stride=2, padding="same")


@pytest.mark.parametrize(
    "mode, padded",
    [
        ("zeros", [0, 0, 1, 2, 3, 4, 0, 0]),
        ("reflect", [3, 2, 1, 2, 3, 4, 3, 2]),
        ("replicate", [1, 1, 1, 2, 3, 4, 4, 4]),
        ("circular", [3, 4, 1, 2, 3, 4, 1, 2]),
    ],
)
def test_conv_padding_modes(mode, padded):
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], dtype=double)
    one = nn.Conv1d(1, 1, 1, padding=2, padding_mode=mode, bias=False, dtype=double)
    two = nn.Conv2d(1, 1, 1, padding=(0, 2), padding_mode=mode, bias=False, dtype=double)
    with torch.no_grad():
        one.weight.fill_(1)
        two.weight.fill_(1)
        assert one(x).tolist() == [[padded]]
        assert two(x[None]).tolist() == [[[padded]]]
    with pytest.raises(ValueError, match="padding_mode"):
        nn.Conv1d(1, 1, 1, padding_mode="mirror")


@pytest.mark.parametrize("layer, sizes", [(nn.Conv1d, (5,)), (nn.Conv2d, (5, 4))])
def test_conv_of_complex_and_of_unbatched_inputs(layer, sizes):
    torch.manual_seed(3)
    conv = layer(2, 3, 3, padding=1, dtype=torch.complex128)
    x = randn(2, 2, *sizes, dtype=torch.complex128)
    with torch.no_grad():
        close(conv(x), conv_by_hand(F.pad(x, (1, 1) * len(sizes)), conv.weight, conv.bias, 1, 1, 1))
        out = conv(x[0])
        assert out.shape == (3, *sizes)
        close(out, conv(x)[0])
    with pytest.raises(RuntimeError, match="[Ee]xpected"):
        conv(x[None, None])


# linear layers and normalisation


def test_linear():
    layer = nn.Linear(3, 2)
    assert layer.weight.shape == (2, 3) and layer.bias.shape == (2,)
    x = torch.ones(5, 4, 3)
    out = layer(x)
    assert out.shape == (5, 4, 2)
    close(out[0, 0], (layer.weight.sum(1) + layer.bias).detach(), 1e-6)
    assert nn.Linear(3, 2, bias=False).bias is None
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        layer(torch.ones(1, 4))


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4)], ids=["(N, C)", "(N, C, L)"])
def test_batchnorm1d_in_training_and_evaluation(shape):
    torch.manual_seed(4)
    norm = nn.BatchNorm1d(3, eps=1e-3, momentum=0.2, dtype=double)
    x = randn(*shape) * 2 + 1
    channels = x.transpose(0, 1).flatten(1)
    mean, var = channels.mean(1), channels.var(1, correction=0)
    column = (3, 1) if len(shape) == 3 else (3,)
    close(norm(x).detach(), (x - mean.view(column)) / (var + 1e-3).sqrt().view(column))
    # The running variance takes the unbiased one.
    close(norm.running_mean, 0.2 * mean)
    close(norm.running_var, 0.8 + 0.2 * channels.var(1))
    assert norm.num_batches_tracked == 1
    norm.eval()
    scale = (norm.running_var + 1e-3).sqrt().view(column)
    close(norm(x).detach(), (x - norm.running_mean.view(column)) / scale)
    assert norm.num_batches_tracked == 1


def test_batchnorm2d_momentum_none_averages_over_batches():
    norm = nn.BatchNorm2d(2, momentum=None, dtype=double)
    batches = [randn(3, 2, 2, 2) for _ in range(3)]
    for x in batches:
        norm(x)
    close(norm.running_mean, sum(x.mean((0, 2, 3)) for x in batches) / 3)
    close(norm.running_var, sum(x.var((0, 2, 3)) for x in batches) / 3)
    assert norm.num_batches_tracked == 3


def test_batchnorm_without_affine_and_without_running_statistics():
    norm = nn.BatchNorm2d(2, affine=False, track_running_stats=False, dtype=double)
    assert norm.weight is None and norm.bias is None and norm.running_mean is None
    assert not list(norm.parameters()) and not list(norm.buffers())
    x = randn(3, 2, 2, 2)
    trained = norm(x)
    close(norm.eval()(x), trained)  # the batch's own statistics, always
    close(trained.mean((0, 2, 3)), [0.0, 0.0])
    with pytest.raises(ValueError, match="expected 4D input"):
        norm(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        nn.BatchNorm1d(2)(torch.zeros(1, 2))


# small modules and containers


def test_relu_in_place_and_identity_of_anything():
    x = torch.tensor([-1.0, 2.0])
    assert nn.ReLU()(x).tolist() == [0, 2] and x.tolist() == [-1, 2]
    assert nn.ReLU(inplace=True)(x) is x and x.tolist() == [0, 2]
    assert nn.Identity(54, "unused", key=0)(x) is x


def test_sequential_positional_ordered_append_and_slices():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    assert model.append(nn.Linear(2, 1)) is model
    assert len(model) == 3 and isinstance(model[-1], nn.Linear)
    assert [n for n, _ in model.named_children()] == ["0", "1", "2"]
    assert isinstance(model[:2], nn.Sequential) and len(model[:2]) == 2 and model[:2][0] is model[0]
    x = torch.ones(1, 1)
    assert model(x).equal(model[2](model[1](model[0](x))))
    named = nn.Sequential(OrderedDict(first=nn.Linear(1, 2), act=nn.ReLU()))
    assert isinstance(named.act, nn.ReLU) and list(named.state_dict()) == ["first.weight", "first.bias"]
    del named[0]  # what remains is numbered anew
    assert [n for n, _ in named.named_children()] == ["0"]


def test_module_list_append_extend_insert():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers.append(nn.ReLU())
    layers.extend([nn.Tanh(), nn.Identity()])
    layers.insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in layers] == ["Linear", "Sigmoid", "ReLU", "Tanh", "Identity"]
    assert list(layers.state_dict()) == ["0.weight", "0.bias"]
    assert isinstance(layers[1:3], nn.ModuleList) and layers[-1] is layers[4]
    with pytest.raises(NotImplementedError):
        layers(torch.ones(1))


# Observed from PyTorch 2.13, in the order in which the layers are made; float32, to the last bit.
LINEAR = [[-0.005293981172144413, 0.37932288646698], [-0.5819807648658752, -0.5203874707221985]]
CONV1D = [[[-0.014010033570230007, 0.5606575012207031]], [[-0.06275151669979095, 0.1871093362569809]]]
CONV2D_BIAS = [0.19766759872436523]


def test_initial_weights_equal_pytorchs_for_the_same_seed():
    torch.manual_seed(0)
    close(nn.Linear(2, 2).weight.detach(), LINEAR, 0)
    close(nn.Conv1d(1, 2, 2).weight.detach(), CONV1D, 0)
    close(nn.Conv2d(1, 1, 2).bias.detach(), CONV2D_BIAS, 0)
    norm = nn.BatchNorm2d(2)
    assert norm.weight.tolist() == [1, 1] and norm.bias.tolist() == [0, 0]


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1, padding_mode="circular", bias=False),
        nn.BatchNorm2d(8, momentum=None),
        nn.ReLU(inplace=True),
        nn.Identity(3, a=4),
        nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 3)]),
    )


def test_modules_children_and_named_modules():
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Sequential(shared, nn.Tanh()))
    assert [n for n, _ in model.named_modules()] == ["", "0", "1", "1.1"]
    assert [n for n, _ in model.named_modules(remove_duplicate=False)] == ["", "0", "1", "1.0", "1.1"]
    assert len(list(model.modules())) == 4 and list(model.children()) == [shared, model[1]]
    assert dict(model.named_modules())["1.1"] is model[1][1]


def test_register_buffer():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kept", torch.arange(2))
            self.register_buffer("scratch", torch.zeros(1), persistent=False)

    model = Model()
    assert [n for n, _ in model.named_buffers()] == ["kept", "scratch"] and not list(model.parameters())
    assert list(model.state_dict()) == ["kept"]
    model.double()
    assert model.scratch.dtype is double and model.kept.dtype is torch.int64
    model.kept = torch.ones(3)  # stays a buffer
    assert model.state_dict()["kept"].tolist() == [1, 1, 1]
    with pytest.raises(KeyError, match="already exists"):
        model.register_buffer("training", torch.zeros(1))


def test_train_and_eval_reach_every_module():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.BatchNorm1d(2)))
    assert all(m.training for m in model.modules())
    assert model.eval() is model and not any(m.training for m in model.modules())
    x = torch.ones(4, 2)
    assert model[0](x) is x or model[0](x).equal(x)
    model.train()
    assert model[1][0].training and set(model[0](x).flatten().tolist()) <= {0.0, 2.0}


def test_printed_modules_look_the_same():
    assert (
        repr(make_model())
        == """Sequential(
  (0): Conv2d(1, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False, padding_mode=circular)
  (1): BatchNorm2d(8, eps=1e-05, momentum=None, affine=True, bias=True, track_running_stats=True)
  (2): ReLU(inplace=True)
  (3): Identity()
  (4): ModuleList(
    (0-1): 2 x Linear(in_features=2, out_features=3, bias=True)
  )
)"""
    )


# softmax and cross entropy


def test_softmax_and_log_softmax_of_logits():
    x = torch.tensor([[0.0, math.log(2), math.log(5)], [1000.0, 1000.0, -1000.0]], dtype=double)
    close(F.softmax(x, dim=1), [[1 / 8, 2 / 8, 5 / 8], [0.5, 0.5, 0.0]])
    close(F.log_softmax(x, dim=-1)[0], [math.log(1 / 8), math.log(2 / 8), math.log(5 / 8)])
    close(F.log_softmax(x, 1)[1], [-math.log(2), -math.log(2), -2000 - math.log(2)])
    close(x.softmax(0).sum(0), [1.0, 1.0, 1.0])
    close(nn.Softmax(dim=1)(x), torch.softmax(x, 1))
    close(nn.LogSoftmax(dim=1)(x), torch.log_softmax(x, 1))
    assert F.softmax(torch.zeros(2, dtype=torch.float16), 0, dtype=torch.float32).dtype is torch.float32


LOGITS = [[0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [3.0, 1.0, 2.0]]


def minus_log_p():
    rows = []
    for row in LOGITS:
        total = sum(math.exp(v) for v in row)
        rows.append([math.log(total) - v for v in row])
    return rows


def test_cross_entropy_of_classes_with_weights_and_ignore_index():
    x = torch.tensor(LOGITS, dtype=double)
    target = torch.tensor([0, 1, 2])
    loss = minus_log_p()
    rows = [loss[i][i] for i in range(3)]
    close(nn.CrossEntropyLoss()(x, target), sum(rows) / 3)
    close(F.cross_entropy(x, target, reduction="none"), rows)
    close(F.cross_entropy(x, target, reduction="sum"), sum(rows))
    close(F.nll_loss(F.log_softmax(x, 1), target), sum(rows) / 3)
    weight = [1.0, 2.0, 3.0]
    weighted = nn.CrossEntropyLoss(weight=torch.tensor(weight, dtype=double))
    # The mean is over the weights, not over the rows.
    close(weighted(x, target), sum(w * r for w, r in zip(weight, rows, strict=True)) / 6)
    close(F.cross_entropy(x, target, ignore_index=1), (rows[0] + rows[2]) / 2)
    close(F.cross_entropy(x, torch.tensor([0, -100, 2])), (rows[0] + rows[2]) / 2)
    assert F.cross_entropy(x, torch.tensor([-100] * 3)).isnan()
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        F.cross_entropy(x, torch.tensor([0, 1, 3]))
    close(F.cross_entropy(x.T[None], target[None]), sum(rows) / 3)


def test_cross_entropy_with_label_smoothing():
    x = torch.tensor(LOGITS, dtype=double)
    loss = minus_log_p()
    expected = sum(0.9 * loss[i][i] + 0.1 * sum(loss[i]) / 3 for i in range(3)) / 3
    close(nn.CrossEntropyLoss(label_smoothing=0.1)(x, torch.tensor([0, 1, 2])), expected)
    # Weights, an ignored class and smoothing together: observed from PyTorch 2.13.
    weight = torch.tensor([1.0, 2.0, 3.0], dtype=double)
    together = F.cross_entropy(x, torch.tensor([0, 1, 2]), weight=weight, ignore_index=1, label_smoothing=0.1)
    close(together, 1.6242726311110471)


def test_cross_entropy_of_probabilities():
    x = torch.tensor(LOGITS, dtype=double, requires_grad=True)
    target = [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]
    loss = minus_log_p()
    expected = (
        sum(t * v for ts, vs in zip(target, loss, strict=True) for t, v in zip(ts, vs, strict=True)) / 3
    )
    value = F.cross_entropy(x, torch.tensor(target, dtype=double))
    close(value.detach(), expected)
    value.backward()
    close(x.grad, ((x.softmax(1) - torch.tensor(target, dtype=double)) / 3).detach())


# optimizers


def test_zero_grad_and_step():
    w = nn.Parameter(torch.tensor([1.0, 2.0], dtype=double))
    optimizer = torch.optim.SGD([w], lr=0.1)
    (w * w).sum().backward()
    optimizer.step()
    close(w.detach(), [0.8, 1.6])
    optimizer.zero_grad()
    assert w.grad is None
    (w * 3).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0, 0]
    optimizer.step()
    close(w.detach(), [0.8, 1.6])


def test_sgd_with_momentum_and_weight_decay():
    w = nn.Parameter(torch.tensor([1.0], dtype=double))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.01)
    value, velocity = 1.0, 0.0
    for step in range(3):
        optimizer.zero_grad()
        (w * 2).sum().backward()
        optimizer.step()
        gradient = 2 + 0.01 * value
        velocity = gradient if step == 0 else 0.9 * velocity + gradient
        value -= 0.1 * velocity
        close(w.detach(), [value])


@pytest.mark.parametrize("decoupled", [False, True], ids=["Adam", "AdamW"])
def test_adam_follows_its_formula(decoupled):
    w = nn.Parameter(torch.tensor([1.0], dtype=double))
    optimizer = (torch.optim.AdamW if decoupled else torch.optim.Adam)([w], lr=0.1, weight_decay=0.1)
    value, m, v = 1.0, 0.0, 0.0
    for step in range(1, 5):
        optimizer.zero_grad()
        (w**2).sum().backward()
        optimizer.step()
        gradient = 2 * value
        if decoupled:
            value *= 1 - 0.1 * 0.1
        else:
            gradient += 0.1 * value
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        value -= 0.1 * (m / (1 - 0.9**step)) / (math.sqrt(v / (1 - 0.999**step)) + 1e-8)
        close(w.detach(), [value])


def test_a_network_learns():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    target = torch.tensor([0, 1, 1, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    first = copy.deepcopy(model)
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 and model(x).argmax(1).tolist() == target.tolist()
    assert not first[0].weight.equal(model[0].weight)
