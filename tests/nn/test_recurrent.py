"""Recurrent layers: against the formulas in NumPy, against themselves in other forms, and against PyTorch."""

import copy
import io
import pickle

import pytest
from peer import assert_same, to_flambeau, to_torch, torch_or_skip

import flambeau
from flambeau import nn
from flambeau._ops import recurrent
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.func import functional_call
from flambeau.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
)

double = flambeau.float64


def states_of(result):
    """The final states as a tuple."""
    return result[1] if isinstance(result[1], tuple) else (result[1],)


def tensors(value):
    if isinstance(value, (tuple, list)):
        return [t for v in value if v is not None for t in tensors(v)]
    return [value]


# --- the formulas ----------------------------------------------------------------------------------------------------


def by_formula(np, layer, x, reverse=False):
    """One layer in one direction, step by step: outputs (T, N, H)."""
    ending = "_l0_reverse" if reverse else "_l0"
    w_ih, w_hh, b_ih, b_hh = (
        getattr(layer, n + ending).detach().numpy() for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = c = np.zeros((x.shape[1], layer.hidden_size))
    outputs = []
    for step in x[::-1] if reverse else x:
        a, b = step @ w_ih.T + b_ih, h @ w_hh.T + b_hh
        if layer.mode == "LSTM":
            i, f, g, o = np.split(a + b, 4, 1)
            i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
        elif layer.mode == "GRU":
            (ar, az, an), (br, bz, bn) = np.split(a, 3, 1), np.split(b, 3, 1)
            r, z = 1 / (1 + np.exp(-ar - br)), 1 / (1 + np.exp(-az - bz))
            h = (1 - z) * np.tanh(an + r * bn) + z * h
        else:
            h = np.tanh(a + b) if layer.mode == "RNN_TANH" else np.maximum(a + b, 0)
        outputs.append(h)
    return np.stack(outputs[::-1] if reverse else outputs)


@pytest.mark.parametrize("dtype", [flambeau.float32, double])
@pytest.mark.parametrize("sizes", [(4, 3, 2, 5), (3, 17, 9, 40), (2, 1, 7, 33), (1, 5, 3, 16)])
@pytest.mark.parametrize(
    "make", [nn.LSTM, nn.GRU, nn.RNN, lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k)]
)
def test_outputs_follow_the_formulas(make, sizes, dtype):
    np = pytest.importorskip("numpy", reason="the formulas are computed by NumPy")
    steps, batch, features, hidden = sizes
    layer = make(features, hidden, bidirectional=True, dtype=dtype)
    x = flambeau.randn(steps, batch, features, dtype=dtype)
    expected = [by_formula(np, layer, x.numpy().astype(float), reverse) for reverse in (False, True)]
    for needs_gradient in (False, True):
        with flambeau.set_grad_enabled(needs_gradient):
            output, *_ = result = layer(x)
        tolerance = 1e-5 if dtype == flambeau.float32 else 1e-12
        assert abs(output.detach().numpy() - np.concatenate(expected, -1)).max() < tolerance
        final = states_of(result)[0].detach().numpy()
        assert abs(final - np.stack([expected[0][-1], expected[1][0]])).max() < tolerance


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_cell_is_one_step_of_the_layer(cell):
    layer = getattr(nn, cell.__name__.removesuffix("Cell"))(3, 4, dtype=double)
    one = cell(3, 4, dtype=double)
    one.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    x = flambeau.randn(5, 2, 3, dtype=double)
    output, _ = result = layer(x)
    state = None
    for t in range(5):
        state = one(x[t], state)
    state = state if isinstance(state, tuple) else (state,)
    assert flambeau.allclose(state[0], output[-1], rtol=1e-12)
    for mine, final in zip(state, states_of(result), strict=True):
        assert flambeau.allclose(mine, final[0], rtol=1e-12)
    unbatched = one(x[0, 1])
    assert flambeau.allclose(tensors(unbatched)[0], tensors(one(x[0]))[0][1], rtol=1e-12)


# --- forms of input --------------------------------------------------------------------------------------------------


LAYERS = {
    "LSTM": lambda **k: nn.LSTM(3, 4, 2, dtype=double, **k),
    "LSTM projected": lambda **k: nn.LSTM(3, 4, 2, dtype=double, proj_size=2, **k),
    "LSTM both ways": lambda **k: nn.LSTM(3, 4, 2, dtype=double, bidirectional=True, **k),
    "GRU": lambda **k: nn.GRU(3, 4, 2, dtype=double, **k),
    "GRU both ways": lambda **k: nn.GRU(3, 4, 2, dtype=double, bidirectional=True, bias=False, **k),
    "RNN": lambda **k: nn.RNN(3, 4, 2, dtype=double, **k),
    "RNN relu both ways": lambda **k: nn.RNN(
        3, 4, 2, nonlinearity="relu", dtype=double, bidirectional=True, **k
    ),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())


@each_layer
def test_packed_sequences_are_run_one_by_one(make):
    layer = make()
    sequences = [flambeau.randn(n, 3, dtype=double, requires_grad=True) for n in (2, 5, 1, 5)]
    packed, final = layer(pack_sequence(sequences, enforce_sorted=False))
    assert isinstance(packed, PackedSequence)
    for i, (s, output) in enumerate(zip(sequences, unpack_sequence(packed), strict=True)):
        alone, alone_final = layer(s)
        assert flambeau.allclose(output, alone, rtol=1e-10)
        for mine, theirs in zip(tensors(final), tensors(alone_final), strict=True):
            assert flambeau.allclose(mine[:, i], theirs, rtol=1e-10)
        weights = flambeau.arange(1.0, output.numel() + 1, dtype=double).view_as(output)
        found = flambeau.autograd.grad((output * weights).sum(), [s, *layer.parameters()], retain_graph=True)
        expected = flambeau.autograd.grad((alone * weights).sum(), [s, *layer.parameters()])
        assert all(flambeau.allclose(a, b, rtol=1e-8) for a, b in zip(found, expected, strict=True))


@each_layer
def test_batch_first_and_unbatched_inputs(make):
    layer, first = make(), make(batch_first=True)
    first.load_state_dict(layer.state_dict())
    x = flambeau.randn(4, 2, 3, dtype=double)
    output, final = layer(x)
    turned, turned_final = first(x.transpose(0, 1))
    assert flambeau.equal(turned.transpose(0, 1), output)
    assert all(flambeau.equal(a, b) for a, b in zip(tensors(final), tensors(turned_final), strict=True))
    for one in (layer, first):
        alone, alone_final = one(x[:, 1])
        assert flambeau.allclose(alone, output[:, 1], rtol=1e-12)
        assert tensors(alone_final)[0].shape == tensors(final)[0][:, 1].shape


@each_layer
def test_a_given_state_continues_a_sequence(make):
    layer = make()
    if layer.bidirectional:
        layer = nn.GRU(3, 4, dtype=double)
    x = flambeau.randn(5, 2, 3, dtype=double)
    whole, final = layer(x)
    begun, state = layer(x[:2])
    rest, ended = layer(x[2:], state)
    assert flambeau.allclose(flambeau.cat([begun, rest]), whole, rtol=1e-12)
    assert all(
        flambeau.allclose(a, b, rtol=1e-12) for a, b in zip(tensors(ended), tensors(final), strict=True)
    )


@pytest.mark.parametrize("lengths", [None, (3, 2, 2)])
@each_layer
def test_first_and_second_derivatives(make, lengths):
    layer = make()
    x = flambeau.randn(3, 3, 3, dtype=double, requires_grad=True)
    count, hidden = 2 * (2 if layer.bidirectional else 1), layer.proj_size or 4
    h = flambeau.randn(count, 3, hidden, dtype=double, requires_grad=True)
    states = (h,)
    if layer.mode == "LSTM":
        states += (flambeau.randn(count, 3, 4, dtype=double, requires_grad=True),)
    names = [n for n, _ in layer.named_parameters()]

    def run(x, *rest):
        given = rest[: len(states)]
        given = given if layer.mode == "LSTM" else given[0]
        x = x if lengths is None else pack_padded_sequence(x, lengths)
        weights = dict(zip(names, rest[len(states) :], strict=True))
        output, final = functional_call(layer, weights, (x, given))
        return (output if lengths is None else output.data, *tensors(final))

    inputs = (x, *states, *layer.parameters())
    assert gradcheck(run, inputs, fast_mode=True)
    assert gradgradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("batch_sizes", [None, [3, 3, 2, 1], [2], [5, 1], [8, 6, 4, 1]])
@pytest.mark.parametrize("sizes", [(1, 1), (17, 33), (5, 150), (0, 2), (3, 0)])
@pytest.mark.parametrize("mode", range(4))
def test_the_native_layer_agrees_with_its_composition(mode, sizes, batch_sizes):
    features, hidden = sizes
    shape = (4, 3, features) if batch_sizes is None else (sum(batch_sizes), features)
    packed = None if batch_sizes is None else flambeau.tensor(batch_sizes)
    batch, rows = 3 if packed is None else batch_sizes[0], (4, 3, 1, 1)[mode] * hidden

    def draw(*size):
        return flambeau.randn(*size, dtype=double, requires_grad=True)

    tensors = [draw(*shape), draw(batch, hidden), draw(batch, hidden) if mode == 0 else None]
    tensors += [draw(rows, features), draw(hidden, rows).t(), draw(rows), draw(rows)]
    leaves = [t for t in tensors if t is not None]
    for reverse in (False, True):
        found = recurrent._recurrent(mode, *tensors, packed, reverse)[:3]
        expected = recurrent._layer_of(mode, packed, reverse)(*tensors)
        pairs = [(a, b) for a, b in zip(found, expected, strict=True) if b is not None]
        assert all(flambeau.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)
        for chosen in (pairs, pairs[:1], pairs[1:]):
            cotangents = [flambeau.randn(b.shape, dtype=double) for _, b in chosen]
            gradients = [
                flambeau.autograd.grad(side, leaves, cotangents, retain_graph=True, allow_unused=True)
                for side in zip(*chosen, strict=True)
            ]
            for mine, other in zip(*gradients, strict=True):
                other = flambeau.zeros_like(mine) if other is None else other
                assert flambeau.allclose(mine, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch_sizes", [[150] * 30, [400] * 5 + [200] * 12 + [30] * 10])
@pytest.mark.parametrize("mode", range(4))
def test_gradients_of_long_sequences_go_by_chunks_of_steps(mode, batch_sizes, reverse):
    features, hidden, batch, rows = 5, 33, batch_sizes[0], (4, 3, 1, 1)[mode] * 33
    packed, total = flambeau.tensor(batch_sizes), sum(batch_sizes)

    def draw(*size):
        return (0.3 * flambeau.randn(*size, dtype=double)).requires_grad_()

    tensors = [draw(total, features), draw(batch, hidden), draw(batch, hidden) if mode == 0 else None]
    tensors += [draw(rows, features), draw(rows, hidden), draw(rows), draw(rows)]
    leaves = [t for t in tensors if t is not None]
    sides = (
        recurrent._recurrent(mode, *tensors, packed, reverse)[:2],
        recurrent._layer_of(mode, packed, reverse)(*tensors)[:2],
    )
    cotangents = [flambeau.randn(t.shape, dtype=double) for t in sides[0]]
    found, expected = (flambeau.autograd.grad(side, leaves, cotangents) for side in sides)
    for mine, other in zip(found, expected, strict=True):
        assert flambeau.allclose(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lengths", [[5] * 30 + [4] * 20 + [2] * 20, [5, 5, 5, 4, 4, 3, 1]])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_the_bits_do_not_depend_on_the_number_of_threads(name, lengths):
    layer = getattr(nn, name)(96, 200, bidirectional=True)
    x = flambeau.randn(5, len(lengths), 96)
    results, threads = [], flambeau.get_num_threads()
    try:
        for count in (1, 3):
            flambeau.set_num_threads(count)
            output, _ = layer(pack_padded_sequence(x, lengths))
            results.append(
                [output.data, *flambeau.autograd.grad(output.data.square().sum(), layer.parameters())]
            )
    finally:
        flambeau.set_num_threads(threads)
    assert all(flambeau.equal(a, b) for a, b in zip(*results, strict=True))


def test_dropout_between_layers():
    layer = nn.GRU(3, 4, 2, dropout=1.0)
    x = flambeau.randn(5, 2, 3)
    output, _ = layer(x)
    alone = nn.GRU(4, 4)
    alone.load_state_dict({k.replace("_l1", "_l0"): v for k, v in layer.state_dict().items() if "_l1" in k})
    assert flambeau.allclose(output, alone(flambeau.zeros(5, 2, 4))[0])
    assert not flambeau.allclose(layer.eval()(x)[0], output)


@each_layer
def test_copies_and_pickles_compute_the_same(make):
    layer = make()
    x = flambeau.randn(3, 2, 3, dtype=double)
    file = io.BytesIO()
    flambeau.save(layer, file)
    file.seek(0)
    for other in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        flambeau.load(file, weights_only=False),
    ):
        assert flambeau.equal(other(x)[0], layer(x)[0])
        assert [n for n, _ in other.named_parameters()] == [n for n, _ in layer.named_parameters()]
        assert len(other._flat_weights) == sum(len(g) for g in other.all_weights)


def test_float16_complex_and_meta():
    layer = nn.LSTM(3, 4, bidirectional=True)
    x = flambeau.randn(5, 2, 3)
    expected, _ = layer(x)
    for dtype in (flambeau.float16, flambeau.bfloat16):
        output, _ = copy.deepcopy(layer).to(dtype)(x.to(dtype))
        assert output.dtype == dtype and flambeau.allclose(output.float(), expected, atol=0.02)
    weights = [w.to(flambeau.complex64) for w in layer._flat_weights]
    zero = flambeau.zeros(2, 2, 4, dtype=flambeau.complex64)
    output = flambeau.lstm(x + 0j, (zero, zero), weights, True, 1, 0.0, False, True, False)[0]
    assert flambeau.allclose(output.real, expected, atol=1e-5) and not output.imag.any()
    output, state = nn.LSTM(3, 4, device="meta")(flambeau.empty(5, 2, 3, device="meta"))
    assert output.shape == (5, 2, 4) and output.is_meta and state[1].shape == (1, 2, 4)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: nn.LSTM(3, 0), ValueError, "hidden_size must be greater than zero"),
        (lambda: nn.LSTM(3, 4.0), TypeError, "hidden_size should be of type int"),
        (lambda: nn.GRU(3, 4, 0), ValueError, "num_layers must be greater than zero"),
        (lambda: nn.GRU(3, 4, dropout=2), ValueError, "dropout should be a number in range"),
        (lambda: nn.GRU(3, 4, proj_size=2), ValueError, "proj_size argument is only supported for LSTM"),
        (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "proj_size has to be smaller than hidden_size"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), ValueError, "Unknown nonlinearity 'sin'"),
        (lambda: nn.RNNBase("SRU", 3, 4), ValueError, "Unrecognized RNN mode: SRU"),
    ],
)
def test_errors_of_constructors(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


zeros = flambeau.zeros


def run_gru(states, layers, weights):
    return flambeau.gru(zeros(2, 2, 3), zeros(states, 2, 4), weights, True, layers, 0.0, False, False, False)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda lstm, gru: lstm(zeros(2, 2, 3, 1)), ValueError, "LSTM: Expected input to be 2D or 3D, got 4D"),
        (lambda lstm, gru: gru(zeros(2, 2, 5)), RuntimeError, "input_size. Expected 3, got 5"),
        (lambda lstm, gru: gru(zeros(2, 2, 3).double()), ValueError, "does not match weight dtype"),
        (lambda lstm, gru: gru(zeros(0, 2, 3)), RuntimeError, "sequence length to be larger than 0"),
        (lambda lstm, gru: gru(zeros(2, 2, 3), zeros(2, 4)), RuntimeError, "For batched 3-D input, hx"),
        (lambda lstm, gru: gru(zeros(2, 3), zeros(1, 2, 4)), RuntimeError, "For unbatched 2-D input, hx"),
        (lambda lstm, gru: gru(zeros(2, 2, 3), zeros(1, 3, 4)), RuntimeError, r"hidden size \(1, 2, 4\), got \[1, 3, 4\]"),
        (lambda lstm, gru: lstm(zeros(2, 2, 3), (zeros(1, 2, 4), zeros(1, 2, 5))), RuntimeError, r"hidden\[1\] size"),
        (lambda lstm, gru: nn.LSTMCell(3, 4)(zeros(2, 2)), RuntimeError, "inconsistent input_size: got 2 expected 3"),
        (lambda lstm, gru: nn.GRUCell(3, 4)(zeros(2, 3), zeros(3, 4)), RuntimeError, "batch size 2 doesn't match hidden0"),
        (lambda lstm, gru: nn.RNNCell(3, 4)(zeros(2, 3), zeros(2, 5)), RuntimeError, "hidden_size: got 5, expected 4"),
        (lambda lstm, gru: nn.LSTMCell(3, 4)(zeros(2, 3), zeros(2, 4)), TypeError, "tuple of Tensors, not Tensor"),
        (lambda lstm, gru: flambeau.gru(zeros(2, 2, 3)), TypeError, "invalid combination of arguments"),
        (lambda lstm, gru: run_gru(1, 1, gru._flat_weights[:3]), RuntimeError, "incorrect number of RNN parameters"),
        (lambda lstm, gru: run_gru(2, 2, gru._flat_weights), RuntimeError, "Expected more weights"),
        (lambda lstm, gru: run_gru(2, 1, gru._flat_weights), RuntimeError, "Expected more hidden states"),
        (lambda lstm, gru: run_gru(1, 1, lstm._flat_weights), RuntimeError, "must have 12 rows"),
        (
            lambda lstm, gru: flambeau.gru(
                zeros(3, 3), flambeau.tensor([1, 2]), zeros(1, 2, 4), gru._flat_weights, True, 1, 0, False, False
            ),
            RuntimeError, "must not increase",
        ),
    ],
)  # fmt: skip
def test_errors_of_calls(call, kind, message):
    with pytest.raises(kind, match=message):
        call(nn.LSTM(3, 4), nn.GRU(3, 4))


def test_dropout_of_one_layer_warns():
    with pytest.warns(UserWarning, match="non-zero dropout expects num_layers greater than 1"):
        nn.LSTM(3, 4, dropout=0.5)


# --- packing ---------------------------------------------------------------------------------------------------------


def test_packing_and_padding():
    padded = flambeau.arange(24.0).view(4, 3, 2)
    packed = pack_padded_sequence(padded, [2, 4, 1], enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1]
    assert packed.data[:, 0].tolist() == [2, 0, 4, 8, 6, 14, 20]
    assert packed.sorted_indices.tolist() == packed.unsorted_indices.tolist() == [1, 0, 2]
    for first in (False, True):
        again, lengths = pad_packed_sequence(packed, first, padding_value=-1, total_length=5)
        again = again.transpose(0, 1) if first else again
        assert lengths.tolist() == [2, 4, 1]
        for i, n in enumerate(lengths.tolist()):
            assert flambeau.equal(again[:n, i], padded[:n, i]) and (again[n:, i] == -1).all()
    assert packed.double().data.dtype == double and packed.to("cpu") is packed
    x = flambeau.randn(4, 3, 2, dtype=double, requires_grad=True)
    assert gradcheck(lambda x: pack_padded_sequence(x, [4, 2, 2]).data, x)
    assert gradcheck(
        lambda x: pad_packed_sequence(PackedSequence(x.flatten(0, 1), flambeau.tensor([4, 4, 2, 2])))[0], x
    )


def test_padding_sequences():
    sequences = [flambeau.tensor([1, 2]), flambeau.tensor([3, 4, 5])]
    assert pad_sequence(sequences, True, 9).tolist() == [[1, 2, 9], [3, 4, 5]]
    assert pad_sequence(sequences, padding_side="left").tolist() == [[0, 3], [1, 4], [2, 5]]
    assert pad_sequence(iter(sequences)).tolist() == [[1, 3], [2, 4], [0, 5]]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: pack_padded_sequence(zeros(4, 3, 2), [2, 4, 1]), RuntimeError, "sorted in decreasing order"),
        (lambda: pack_padded_sequence(zeros(4, 3, 2), [4, 2, 0]), RuntimeError, "has to be greater than 0"),
        (lambda: pack_padded_sequence(zeros(4, 3, 2), [4, 2]), RuntimeError, "equal to batch_size"),
        (
            lambda: pack_padded_sequence(zeros(4, 3, 2), [5, 2, 1]),
            RuntimeError,
            "the longest of `lengths` is 5",
        ),
        (lambda: pack_padded_sequence(zeros(4, 3, 2), 4), RuntimeError, "1D CPU int64 tensor, but got 0D"),
        (lambda: pack_padded_sequence(zeros(4, 0, 2), []), RuntimeError, "Cannot pack empty tensors"),
        (lambda: pack_sequence([]), RuntimeError, "empty list of sequences"),
        (lambda: pad_sequence([zeros(2, 3), zeros(2, 4)]), RuntimeError, "must match the size"),
        (
            lambda: pad_sequence([zeros(2)], padding_side="up"),
            RuntimeError,
            "one of left or right, but got up",
        ),
        (lambda: pad_sequence([1]), TypeError, "expected Tensor as element 0"),
        (
            lambda: pad_packed_sequence(pack_sequence([zeros(3)]), total_length=2),
            ValueError,
            "total_length to be at least",
        ),
        (
            lambda: flambeau._pad_packed_sequence(zeros(7), flambeau.tensor([3, 2, 1, 0, 1]), False, 0.0, 0),
            RuntimeError,
            "must not increase",
        ),
        (lambda: PackedSequence(zeros(3)), AssertionError, "list or tuple of length 2"),
    ],
)
def test_errors_of_packing(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


# --- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("LSTM", {"num_layers": 3, "bidirectional": True, "dropout": 0.4}),
        ("LSTM", {"num_layers": 2, "proj_size": 3, "dropout": 0.4, "batch_first": True}),
        ("GRU", {"num_layers": 2, "bidirectional": True, "dropout": 0.4, "batch_first": True}),
        ("GRU", {"bias": False}),
        ("RNN", {"num_layers": 2, "nonlinearity": "relu", "dropout": 0.4}),
    ],
)
def test_same_as_pytorch(name, settings, packed):
    """Weights, printed form, dropout masks, outputs and gradients."""
    torch = torch_or_skip()
    results = []
    for library, rnn in ((torch, torch.nn.utils.rnn), (flambeau, nn.utils.rnn)):
        library.manual_seed(7)
        layer = getattr(library.nn, name)(5, 6, **settings)
        x = library.randn(4, 4, 5, requires_grad=True)
        lengths = [2, 4, 1, 4]
        given = x
        if packed:
            given = rnn.pack_padded_sequence(x, lengths, settings.get("batch_first", False), False)
        outputs = [t for t in tensors(layer(given)) if t.dtype == library.float32]
        sum((o * library.arange(o.numel()).view_as(o)).sum() for o in outputs).backward()
        results.append((layer, outputs, [x.grad, *(p.grad for p in layer.parameters())]))
    (theirs, expected, gradients), (ours, found, found_gradients) = results
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(to_torch(mine), other.detach())
    for mine, other in zip(found, expected, strict=True):
        assert_same(mine, other)
        assert mine.stride() == other.stride()
    for mine, other in zip(found_gradients, gradients, strict=True):
        assert_same(mine, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell"])
def test_whole_modules_travel_in_files(name):
    torch = torch_or_skip()
    theirs, ours, file = getattr(torch.nn, name)(4, 5), getattr(nn, name)(4, 5), io.BytesIO()
    x = torch.randn(3, 4)
    flambeau.save(ours, file)
    file.seek(0)
    assert_same(
        tensors(ours(to_flambeau(x)))[0], tensors(torch.load(file, weights_only=False)(x))[0], atol=1e-5
    )
    file = io.BytesIO()
    torch.save(theirs, file)
    file.seek(0)
    assert_same(
        tensors(flambeau.load(file, weights_only=False)(to_flambeau(x)))[0], tensors(theirs(x))[0], atol=1e-5
    )
