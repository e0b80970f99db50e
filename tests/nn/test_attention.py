"""Attention against its definition, computed element by element, and what the modules built on it promise."""

import math
import pickle

import pytest

import flambeau as torch
from flambeau._ops import registry
from flambeau._serialization import names
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F

nn = torch.nn


def numbers(*shape, phase=0, dtype=torch.float64, grad=False):
    """Distinct numbers of both signs."""
    count = math.prod(shape)
    values = [math.sin(1.7 * i + phase) * 1.3 for i in range(count)]
    return torch.tensor(values, dtype=dtype).reshape(shape).requires_grad_(grad)


def by_definition(query, key, value, allowed=lambda i, j: True, added=lambda i, j: 0.0, scale=None):
    """Attention of lists of rows, with Python's numbers; `allowed` and `added` are the mask."""
    scale = 1 / math.sqrt(len(query[0])) if scale is None else scale
    rows = []
    for i, q in enumerate(query):
        keys = [j for j in range(len(key)) if allowed(i, j)]
        weights = {j: math.exp(scale * sum(map(lambda a, b: a * b, q, key[j])) + added(i, j)) for j in keys}
        total = sum(weights.values())
        rows.append([sum(weights[j] / total * value[j][e] for j in keys) for e in range(len(value[0]))])
    return rows


def assert_close(found, expected, tolerance=1e-9):
    if not isinstance(expected, torch.Tensor):
        expected = torch.tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=tolerance, atol=tolerance)


# Sizes around those of the blocks that a kernel works in.
SIZES = [(1, 1, 1, 1), (3, 5, 4, 2), (33, 31, 8, 12), (70, 70, 16, 16), (20, 131, 5, 24)]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("queries", "keys", "size", "value_size"), SIZES)
@pytest.mark.parametrize("causal", [False, True])
def test_is_its_definition(queries, keys, size, value_size, causal, dtype):
    dtype = getattr(torch, dtype)
    query, key, value = (
        numbers(rows, columns, phase=phase).to(dtype)
        for rows, columns, phase in ((queries, size, 0), (keys, size, 1), (keys, value_size, 2))
    )
    expected = by_definition(query.tolist(), key.tolist(), value.tolist(), lambda i, j: not causal or j <= i)
    tolerance = {"torch.float64": 1e-9, "torch.float32": 2e-6, "torch.float16": 1e-3, "torch.bfloat16": 8e-3}
    for lead in ((), (1,), (1, 1), (1, 1, 1)):
        found = F.scaled_dot_product_attention(
            query.expand(*lead, -1, -1),
            key.expand(*lead, -1, -1),
            value.expand(*lead, -1, -1),
            is_causal=causal,
        )
        assert found.shape == (*lead, queries, value_size)
        assert found.dtype == dtype
        assert_close(found.view(queries, value_size), expected, tolerance[str(dtype)])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("queries", "keys"), [(3, 5), (40, 70)])
def test_masks(queries, keys, dtype):
    query, key, value = (numbers(n, 6, phase=n, dtype=dtype) for n in (queries, keys, keys))
    lists = query.tolist(), key.tolist(), value.tolist()
    allowed = [[(i * 3 + j * 5) % 4 != 0 or j == i % keys for j in range(keys)] for i in range(queries)]
    added = [[math.cos(i + 2.0 * j) for j in range(keys)] for i in range(queries)]
    tolerance = 1e-9 if dtype == torch.float64 else 3e-6
    found = F.scaled_dot_product_attention(query, key, value, torch.tensor(allowed))
    assert_close(found, by_definition(*lists, allowed=lambda i, j: allowed[i][j]), tolerance)
    found = F.scaled_dot_product_attention(query, key, value, torch.tensor(added, dtype=dtype), scale=-0.3)
    expected = by_definition(*lists, added=lambda i, j: added[i][j], scale=-0.3)
    assert_close(found, expected, tolerance)
    # One row for all queries.
    found = F.scaled_dot_product_attention(query, key, value, torch.tensor(allowed[:1]))
    assert_close(found, by_definition(*lists, allowed=lambda i, j: allowed[0][j]), tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("boolean", [True, False])
def test_a_query_that_may_look_at_nothing_gets_zeros_and_gives_no_gradient(boolean, dtype):
    query, key, value = (numbers(2, 3, 4, phase=p, dtype=dtype, grad=True) for p in range(3))
    mask = torch.ones(3, 3, dtype=torch.bool)
    mask[1] = False
    mask = mask if boolean else torch.zeros(3, 3, dtype=dtype).masked_fill(~mask, -math.inf)
    output = F.scaled_dot_product_attention(query, key, value, mask)
    assert (output[:, 1] == 0).all()
    assert (output[:, 0] != 0).all()
    output.sum().backward()
    assert (query.grad[:, 1] == 0).all()
    for leaf in (query, key, value):
        assert leaf.grad.isfinite().all()
        assert (leaf.grad != 0).any()


def test_batches_broadcast_and_heads_are_shared():
    query, key, value = numbers(2, 6, 4, 5), numbers(2, 3, 7, 5, phase=1), numbers(2, 3, 7, 3, phase=2)
    found = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    assert found.shape == (2, 6, 4, 3)
    for b in range(2):
        for h in range(6):
            expected = by_definition(query[b, h].tolist(), key[b, h // 2].tolist(), value[b, h // 2].tolist())
            assert_close(found[b, h], expected)
    found = F.scaled_dot_product_attention(query, key[:1, :1], value[0, 0])
    assert_close(found[1, 4], by_definition(query[1, 4].tolist(), key[0, 0].tolist(), value[0, 0].tolist()))
    with pytest.raises(RuntimeError, match="must divide the number of heads"):
        F.scaled_dot_product_attention(query, numbers(2, 4, 7, 5), numbers(2, 4, 7, 5), enable_gqa=True)


def test_operands_of_any_layout():
    query, key, value = (numbers(2, 40, 3, 16, phase=p, dtype=torch.float32) for p in range(3))
    plain = [x.transpose(1, 2).contiguous() for x in (query, key, value)]
    expected = F.scaled_dot_product_attention(*plain, is_causal=True)
    found = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value)), is_causal=True)
    assert_close(found, expected, 1e-5)
    columns = [x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in plain]
    assert_close(F.scaled_dot_product_attention(*columns, is_causal=True), expected, 1e-5)


def test_empty_operands():
    assert F.scaled_dot_product_attention(torch.ones(2, 0, 4), torch.ones(2, 3, 4), torch.ones(2, 3, 5)).shape == (
        2, 0, 5,
    )  # fmt: skip
    query = torch.ones(2, 3, 4, requires_grad=True)
    found = F.scaled_dot_product_attention(query, torch.ones(2, 0, 4), torch.ones(2, 0, 5))
    assert (found == torch.zeros(2, 3, 5)).all()
    found.sum().backward()
    assert (query.grad == 0).all()
    found = F.scaled_dot_product_attention(torch.ones(2, 3, 0), torch.ones(2, 4, 0), torch.ones(2, 4, 5))
    assert_close(found, torch.ones(2, 3, 5), 1e-6)
    assert (
        F.scaled_dot_product_attention(torch.ones(0, 3, 4), torch.ones(0, 2, 4), torch.ones(0, 2, 5)).numel()
        == 0
    )


SETTINGS = [
    {},
    {"is_causal": True},
    {"scale": 0.7},
    {"attn_mask": torch.tensor([[True, False, True, True], [False] * 4, [True] * 4])},
    {"attn_mask": numbers(2, 1, 4, phase=3)},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_derivatives(settings):
    operands = [numbers(2, rows, 2, phase=rows + i, grad=True) for i, rows in enumerate((3, 4, 4))]

    def attention(*operands):
        return F.scaled_dot_product_attention(*operands, **settings)

    assert gradcheck(attention, operands)
    assert gradgradcheck(attention, operands)


def test_derivative_of_the_mask_and_with_dropout():
    operands = [numbers(2, 3, 2, phase=i, grad=True) for i in range(3)]
    mask = numbers(3, 3, phase=5, grad=True)
    assert gradcheck(F.scaled_dot_product_attention, [*operands, mask])

    def dropped(*operands):
        torch.manual_seed(4)
        return F.scaled_dot_product_attention(*operands, dropout_p=0.4)

    assert gradcheck(dropped, operands)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(70, 70), (33, 140), (200, 90)])
def test_gradients_in_single_precision_are_those_of_double(queries, keys, causal):
    shapes = ((queries, 24), (keys, 24), (keys, 20))
    double = [numbers(2, *shape, phase=i, grad=True) for i, shape in enumerate(shapes)]
    single = [x.detach().float().requires_grad_() for x in double]
    weights = numbers(2, queries, 20, phase=9)
    for operands in (double, single):
        output = F.scaled_dot_product_attention(*operands, is_causal=causal)
        (output * weights.to(output.dtype)).sum().backward()
    for a, b in zip(single, double, strict=True):
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=2e-5, atol=2e-5)


def test_dropout_of_the_weights():
    value = torch.eye(50)
    zeros = torch.zeros(50, 8)
    torch.manual_seed(0)
    found = F.scaled_dot_product_attention(zeros, zeros, value, dropout_p=0.25)
    torch.manual_seed(0)
    mask = F.dropout(torch.ones(50, 50), 0.25)
    assert_close(found, mask / 50, 1e-6)


@pytest.mark.parametrize(
    ("kind", "phrase", "change"),
    [
        (RuntimeError, "at least 2 dimensional", {"query": torch.ones(4)}),
        (RuntimeError, "same dtype", {"key": torch.ones(2, 3, 4, dtype=torch.float64)}),
        (RuntimeError, "last dimensions of one size", {"key": torch.ones(2, 3, 5)}),
        (RuntimeError, "as many rows", {"value": torch.ones(2, 4, 4)}),
        (RuntimeError, "must match", {"key": torch.ones(5, 3, 4)}),
        (
            RuntimeError,
            "attn_mask dtype to be bool or float",
            {"attn_mask": torch.ones(3, 3, dtype=torch.int64)},
        ),
        (RuntimeError, "attn_mask dtype to be bool or float", {"attn_mask": torch.ones(3, 3).double()}),
        (RuntimeError, "must match", {"attn_mask": torch.ones(2, 3)}),
        (RuntimeError, "doesn't match the broadcast shape", {"attn_mask": torch.ones(3, 2, 3, 3)}),
        (
            RuntimeError,
            "should not be set when is_causal",
            {"attn_mask": torch.ones(3, 3), "is_causal": True},
        ),
        (RuntimeError, "probability has to be between 0 and 1", {"dropout_p": 1.5}),
        (TypeError, "must be Tensor, not NoneType", {"value": None}),
    ],
)
def test_errors(kind, phrase, change):
    arguments = dict(query=torch.ones(2, 3, 4), key=torch.ones(2, 3, 4), value=torch.ones(2, 3, 4))
    with pytest.raises(kind, match=phrase):
        F.scaled_dot_product_attention(**arguments | change)


# ---- MultiheadAttention ------------------------------------------------------------------------------------------------


def head_by_head(module, query, key, value):
    """MultiheadAttention of (L, E), (S, E), (S, E) from its parameters."""
    size = module.embed_dim
    weights, biases = module.in_proj_weight.split(size), module.in_proj_bias.split(size)
    q, k, v = (x @ w.T + b for x, w, b in zip((query, key, value), weights, biases, strict=True))
    heads = []
    for part in range(module.num_heads):
        columns = slice(part * module.head_dim, (part + 1) * module.head_dim)
        heads.append(
            torch.tensor(
                by_definition(q[:, columns].tolist(), k[:, columns].tolist(), v[:, columns].tolist()),
                dtype=q.dtype,
            )
        )
    return torch.cat(heads, 1) @ module.out_proj.weight.T + module.out_proj.bias


@pytest.mark.parametrize("need_weights", [True, False])
def test_heads_are_attention_of_projections(need_weights):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(6, 2, dtype=torch.float64)
    query, key, value = numbers(3, 6), numbers(5, 6, phase=1), numbers(5, 6, phase=2)
    expected = head_by_head(module, query, key, value)
    output, weights = module(query, key, value, need_weights=need_weights)
    assert_close(output, expected.detach())
    assert (weights is None) != need_weights
    batch = [x.unsqueeze(1).repeat(1, 2, 1) for x in (query, key, value)]
    output, weights = module(*batch, need_weights=need_weights)
    assert_close(output[:, 1], expected.detach())
    if need_weights:
        assert weights.shape == (2, 3, 5)
        assert_close(weights.sum(-1), torch.ones(2, 3))
        assert module(*batch, average_attn_weights=False)[1].shape == (2, 2, 3, 5)
    module.batch_first = True
    swapped = [x.transpose(0, 1) for x in batch]
    assert_close(module(*swapped, need_weights=need_weights)[0].transpose(0, 1), output.detach())
    # One tensor for all three takes one product.
    assert_close(module(query, query, query)[0], head_by_head(module, query, query, query).detach())
    assert_close(module(query, key, key)[0], head_by_head(module, query, key, key).detach())


@pytest.mark.parametrize("need_weights", [True, False])
def test_masks_leave_keys_out(need_weights):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64)
    x = numbers(2, 5, 4)
    short = module(x[:, :3], x[:, :3], x[:, :3], need_weights=need_weights)[0]
    padding = torch.tensor([[False] * 3 + [True] * 2] * 2)
    for mask in (padding, torch.zeros(2, 5, dtype=torch.float64).masked_fill(padding, -math.inf)):
        padded = module(x, x, x, key_padding_mask=mask, need_weights=need_weights)[0]
        assert_close(padded[:, :3], short.detach())
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    masked = module(x, x, x, attn_mask=causal, need_weights=need_weights)[0]
    assert_close(masked[:, :1], module(x[:, :1], x[:, :1], x[:, :1])[0].detach())
    for mask in (causal == -math.inf, causal.expand(4, 5, 5)):
        assert_close(module(x, x, x, attn_mask=mask, need_weights=need_weights)[0], masked.detach())
    hinted = module(x, x, x, attn_mask=causal, is_causal=True, need_weights=need_weights)[0]
    assert_close(hinted, masked.detach())
    both = module(x, x, x, padding, attn_mask=causal == -math.inf, need_weights=need_weights)[0]
    assert_close(both[:, :3], masked[:, :3].detach())
    with pytest.warns(UserWarning, match="mismatched key_padding_mask and attn_mask"):
        module(x, x, x, padding, attn_mask=causal)


@pytest.mark.parametrize("need_weights", [True, False])
def test_additional_keys(need_weights):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, kdim=3, vdim=5, bias=False)
    names = ["q_proj_weight", "k_proj_weight", "v_proj_weight", "bias_k", "bias_v", "out_proj.weight"]
    assert list(module.state_dict()) == names
    query, key, value = numbers(3, 2, 4).float(), numbers(4, 2, 3).float(), numbers(4, 2, 5).float()
    _, weights = module(query, key, value)
    assert weights.shape == (2, 3, 6)
    # With all keys left out, the learned one and zeros remain.
    everything = torch.ones(2, 4, dtype=torch.bool)
    output = module(query, key, value, key_padding_mask=everything, need_weights=need_weights)[0]
    assert output.isfinite().all()
    again = module(query, key * 2, value * 3, key_padding_mask=everything, need_weights=need_weights)[0]
    assert_close(again, output.detach(), 1e-6)


def test_gradients_do_not_depend_on_the_weights_being_wanted():
    torch.manual_seed(0)
    module, x = nn.MultiheadAttention(6, 3, batch_first=True), numbers(2, 4, 6, dtype=torch.float32)
    gradients = []
    for need_weights in (True, False):
        module.zero_grad()
        (module(x, x, x, need_weights=need_weights)[0] ** 2).sum().backward()
        gradients.append([p.grad for p in module.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "phrase", "arguments"),
    [
        (ValueError, "must be greater than 0", (0, 1)),
        (AssertionError, "embed_dim must be divisible by num_heads", (8, 3)),
    ],
)
def test_errors_of_the_constructor(kind, phrase, arguments):
    with pytest.raises(kind, match=phrase):
        nn.MultiheadAttention(*arguments)


@pytest.mark.parametrize(
    ("kind", "phrase", "change"),
    [
        (AssertionError, "unbatched 2D or batched 3D", {"query": torch.ones(1, 4, 3, 8)}),
        (AssertionError, "expected `key` and `value` to be 3-D", {"key": torch.ones(3, 8)}),
        (AssertionError, "expecting embedding dimension", {"query": torch.ones(4, 3, 6)}),
        (AssertionError, "does not match value shape", {"key": torch.ones(4, 3, 6)}),
        (RuntimeError, "shape of the 2D attn_mask", {"attn_mask": torch.zeros(3, 4)}),
        (RuntimeError, "shape of the 3D attn_mask", {"attn_mask": torch.zeros(3, 4, 4)}),
        (AssertionError, "2-D or 3-D but found 4-D", {"attn_mask": torch.zeros(1, 1, 4, 4)}),
        (AssertionError, "only bool and floating types", {"attn_mask": torch.zeros(4, 4, dtype=torch.int64)}),
        (AssertionError, "`key_padding_mask` to be `None` or 2-D", {"key_padding_mask": torch.zeros(4)}),
        (AssertionError, "key_padded_mask.shape", {"key_padding_mask": torch.zeros(3, 5)}),
        (RuntimeError, "Need attn_mask", {"is_causal": True}),
    ],
)
def test_errors_of_a_call(kind, phrase, change):
    x = torch.ones(4, 3, 8)
    with pytest.raises(kind, match=phrase):
        nn.MultiheadAttention(8, 2)(**dict(query=x, key=x, value=x) | change)


# ---- the Transformer -----------------------------------------------------------------------------------------------------


def test_causal_mask():
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    assert mask.tolist() == [[0.0, -math.inf, -math.inf], [0.0, 0.0, -math.inf], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["gelu", F.silu])
def test_an_encoder_layer_is_its_parts(norm_first, activation):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, activation=activation, batch_first=True, norm_first=norm_first
    ).eval()
    x = numbers(2, 4, 8, dtype=torch.float32)

    def attend(x):
        return layer.self_attn(x, x, x)[0]

    def feed(x):
        return layer.linear2(layer.activation(layer.linear1(x)))

    if norm_first:
        y = x + attend(layer.norm1(x))
        expected = y + feed(layer.norm2(y))
    else:
        y = layer.norm1(x + attend(x))
        expected = layer.norm2(y + feed(y))
    assert_close(layer(x), expected.detach(), 1e-5)
    # Of a sequence alone, and with the batch in the middle.
    assert_close(layer(x[1]), expected[1].detach(), 1e-5)


@pytest.mark.parametrize("batch_first", [False, True])
def test_causal_networks_do_not_look_ahead(batch_first):
    torch.manual_seed(0)
    net = nn.Transformer(8, 2, 2, 2, 16, batch_first=batch_first).eval()
    src, tgt = numbers(3, 5, 8, dtype=torch.float32), numbers(3, 6, 8, phase=1, dtype=torch.float32)
    mask = net.generate_square_subsequent_mask(6)
    arguments = {"tgt_mask": mask}

    def run(src, tgt, **more):
        if batch_first:
            return net(src, tgt, **arguments, **more)
        return net(src.transpose(0, 1), tgt.transpose(0, 1), **arguments, **more).transpose(0, 1)

    whole = run(src, tgt)
    assert whole.shape == tgt.shape
    changed = tgt.clone()
    changed[:, 4:] += 1
    ahead = run(src, changed)
    assert_close(ahead[:, :4], whole[:, :4].detach(), 1e-5)
    assert ((ahead - whole)[:, 4:].abs() > 1e-3).any()
    assert_close(run(src, tgt, tgt_is_causal=True), whole.detach(), 1e-5)
    assert_close(run(src, tgt, tgt_is_causal=False), whole.detach(), 1e-5)


def test_padding_leaves_no_trace_where_it_is_left_out():
    torch.manual_seed(0)
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    x = numbers(2, 4, 8, dtype=torch.float32)
    padding = torch.tensor([[False, False, True, True], [False, False, False, True]])
    with torch.no_grad():
        found = net(x, src_key_padding_mask=padding)
        assert (found[padding] == 0).all()
        for i, length in enumerate((2, 3)):
            assert_close(found[i, :length], net(x[i, :length]), 1e-5)
        # Padding in the middle is computed like everything else.
        assert (net(x, src_key_padding_mask=padding.flip(1)) != 0).all()
        plain = nn.TransformerEncoder(net.layers[0], 2, enable_nested_tensor=False).eval()
        assert (plain(x, src_key_padding_mask=padding) != 0).all()
    recorded = net(x, src_key_padding_mask=padding)
    assert (recorded != 0).all()
    assert_close(recorded[~padding].detach(), found[~padding], 1e-5)


def test_the_stack_has_copies_of_its_layer():
    layer = nn.TransformerDecoderLayer(8, 2, 16, bias=False)
    stack = nn.TransformerDecoder(layer, 2, nn.LayerNorm(8))
    assert torch.equal(stack.layers[0].linear1.weight, stack.layers[1].linear1.weight)
    assert stack.layers[0].linear1.weight is not stack.layers[1].linear1.weight
    assert not any(name.endswith("bias") for name in stack.layers.state_dict())
    output = stack(torch.ones(4, 3, 8), torch.ones(5, 3, 8))
    output.sum().backward()
    assert all(p.grad is not None for p in stack.parameters())


@pytest.mark.parametrize(
    ("phrase", "shapes"),
    [
        ("batch number of src and tgt must be equal", ((4, 3, 8), (4, 2, 8))),
        ("feature number of src and tgt must be equal to d_model", ((4, 3, 6), (4, 3, 6))),
    ],
)
def test_errors_of_the_transformer(phrase, shapes):
    net = nn.Transformer(8, 2, 1, 1, 16)
    with pytest.raises(RuntimeError, match=phrase):
        net(*map(torch.ones, shapes))


def test_unknown_activation():
    with pytest.raises(RuntimeError, match="activation should be relu/gelu, not tanh"):
        nn.TransformerEncoderLayer(8, 2, activation="tanh")


def test_choice_of_an_implementation_changes_nothing():
    backends = torch.nn.attention.SDPBackend
    x = numbers(1, 2, 3, 4)
    expected = F.scaled_dot_product_attention(x, x, x)
    with torch.nn.attention.sdpa_kernel([backends.MATH, backends.FLASH_ATTENTION]):
        assert torch.equal(F.scaled_dot_product_attention(x, x, x), expected)
    assert int(backends.MATH) == 0
    with pytest.raises(AssertionError, match="SDPBackend"), torch.nn.attention.sdpa_kernel("math"):
        pass


def test_models_are_saved_under_public_names():
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu")
    assert type(layer.self_attn).__module__ == "flambeau.nn.modules.activation"
    copy = pickle.loads(pickle.dumps(layer)).eval()
    assert copy.activation is F.gelu
    assert copy.activation.__module__ == "flambeau.nn.functional"
    x = numbers(3, 2, 8, dtype=torch.float32)
    assert torch.equal(copy(x), layer.eval()(x))


def test_saved_names_of_builtin_functions_are_found():
    assert names.find("torch._C._nn", "gelu") is F.gelu


# ---- the fused operator ------------------------------------------------------------------------------------------------

fused = registry.records["_scaled_dot_product_flash_attention_for_cpu"].op
fused_backward = registry.records["_scaled_dot_product_flash_attention_for_cpu_backward"].op


@pytest.mark.parametrize("heads", [1, 5])
def test_same_bits_on_any_number_of_threads(heads):
    operands = [numbers(heads, 300, 32, phase=i, dtype=torch.float32, grad=True) for i in range(3)]
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            output = F.scaled_dot_product_attention(*operands, is_causal=True)
            found.append([output, *torch.autograd.grad(output.square().sum(), operands)])
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_long_sequences_are_worked_on_in_blocks():
    # More keys than exist at a time, with a maximum that grows from block to block.
    query = numbers(40, 4, dtype=torch.float32)
    key = numbers(1400, 4, phase=1, dtype=torch.float32) * torch.arange(1400).unsqueeze(1) / 100
    value = numbers(1400, 3, phase=2, dtype=torch.float32)
    for operands in ((query, key, value), (key, query, numbers(40, 3, dtype=torch.float32))):
        for causal in (False, True):
            double = [x.double().requires_grad_() for x in operands]
            single = [x.detach().clone().requires_grad_() for x in operands]
            mask = torch.ones(len(operands[0]), len(operands[1]), dtype=torch.bool).tril() if causal else None
            scores = double[0] @ double[1].T / 2
            scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)
            expected = scores.softmax(-1) @ double[2]
            found = F.scaled_dot_product_attention(*single, is_causal=causal)
            torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
            weights = numbers(*found.shape, phase=3)
            (found * weights.float()).sum().backward()
            (expected * weights).sum().backward()
            for a, b in zip(single, double, strict=True):
                torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-3, atol=1e-3)


def test_the_fused_operator_says_the_log_of_the_sum():
    query, key, value = numbers(2, 3, 4), numbers(2, 5, 4, phase=1), numbers(2, 5, 2, phase=2)
    output, log_sums = fused(query, key, value, None, False, 0.5)
    assert_close(log_sums, (0.5 * query @ key.transpose(1, 2)).logsumexp(-1))
    assert_close(output, F.scaled_dot_product_attention(query, key, value))
    assert fused(query.half(), key.half(), value.half(), None, False, 0.5)[1].dtype == torch.float32


def test_nan_stays_in_its_row():
    query, key, value = (numbers(3, 4, phase=i, dtype=torch.float32) for i in range(3))
    query[1, 2] = math.nan
    assert F.scaled_dot_product_attention(query, key, value).isnan().all(1).tolist() == [False, True, False]


def test_expanded_operands_and_meta_tensors():
    query, key = (
        numbers(3, 2, 40, 8, dtype=torch.float32),
        numbers(1, 1, 50, 8, dtype=torch.float32, grad=True),
    )
    expanded = F.scaled_dot_product_attention(query, key, key)
    (expanded.sum()).backward()
    gradient, key.grad = key.grad, None
    repeated = key.repeat(3, 2, 1, 1)
    plain = F.scaled_dot_product_attention(query, repeated, repeated)
    plain.sum().backward()
    assert torch.equal(expanded, plain)
    assert_close(gradient, key.grad, 1e-5)
    meta = [x.detach().to("meta") for x in (query, key, key)]
    assert F.scaled_dot_product_attention(*meta).shape == (3, 2, 40, 8)
    # The result lies in memory as the query does.
    query = numbers(2, 5, 3, 4).transpose(1, 2)
    assert F.scaled_dot_product_attention(query, query, query).stride() == query.stride()


@pytest.mark.parametrize(
    "change",
    [
        {0: torch.ones(2, 3, 5)},
        {1: torch.ones(3, 4, 4)},
        {2: torch.ones(2, 5, 4)},
        {2: torch.ones(4, 4)},
        {3: torch.ones(2, 3, 3)},
        {3: torch.ones(3, 4)},
        {1: torch.ones(2, 4, 4, dtype=torch.float64)},
        {0: torch.ones(2, 0, 4)},
        {0: torch.ones(4)},
        {0: torch.ones(2, 3, 4, dtype=torch.int64)},
    ],
)
def test_the_fused_operator_checks_its_operands(change):
    arguments = [torch.ones(2, 3, 4), torch.ones(2, 4, 4), torch.ones(2, 4, 4), None, False, 1.0]
    output, log_sums = fused(*arguments)
    for at, value in change.items():
        arguments[at] = value
    with pytest.raises((RuntimeError, NotImplementedError)):
        fused(*arguments)
    with pytest.raises((RuntimeError, NotImplementedError)):
        fused_backward(output, *arguments[:4], output, log_sums, False, 1.0)


@pytest.mark.parametrize("wrong", [0, 5, 6])
def test_the_backward_operator_checks_what_was_saved(wrong):
    operands = [torch.ones(2, 3, 4), torch.ones(2, 4, 4), torch.ones(2, 4, 4), None]
    output, log_sums = fused(*operands, False, 1.0)
    arguments = [output, *operands, output, log_sums, False, 1.0]
    arguments[wrong] = torch.ones(2, 2)
    with pytest.raises(RuntimeError, match="expected"):
        fused_backward(*arguments)
