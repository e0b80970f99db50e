"""Recurrent networks: whole networks (`lstm`, `gru`, `rnn_tanh`, `rnn_relu`) and single steps (`lstm_cell`, ...).

Formulas as in the papers on LSTM (Hochreiter and Schmidhuber 1997; with forget gates, Gers 2000) and GRU (Cho 2014,
with the reset gate after the product), in the layout of PyTorch's weights: the gates of an LSTM are stacked as input,
forget, cell, output, those of a GRU as reset, update, new.

A sequence of steps is one tensor (T, N, features), or packed: the rows of all steps one after the other, and how many
rows each step has, never more than the step before (`nn.utils.rnn.PackedSequence`).
"""

import flambeau

from .casts import in_autocast
from .linalg import linear
from .registry import composite, op
from .second_order import vjp_through

# --- one step --------------------------------------------------------------------------------------------------------
# gates: the input's share of the gates, its bias included. state: the tensors that are handed from step to step.


def _lstm_step(gates, state, weight, bias, projection):
    hidden, cell = state
    i, f, g, o = (gates + linear(hidden, weight, bias)).chunk(4, 1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    hidden = o.sigmoid() * cell.tanh()
    return (hidden if projection is None else linear(hidden, projection), cell)


def _gru_step(gates, state, weight, bias, projection):
    (hidden,) = state
    reset, update, new = gates.chunk(3, 1)
    from_reset, from_update, from_new = linear(hidden, weight, bias).chunk(3, 1)
    update = (update + from_update).sigmoid()
    new = (new + (reset + from_reset).sigmoid() * from_new).tanh()
    return (new + update * (hidden - new),)


def _tanh_step(gates, state, weight, bias, projection):
    return ((gates + linear(state[0], weight, bias)).tanh(),)


def _relu_step(gates, state, weight, bias, projection):
    return ((gates + linear(state[0], weight, bias)).relu(),)


_STEPS = {"lstm": _lstm_step, "gru": _gru_step, "rnn_tanh": _tanh_step, "rnn_relu": _relu_step}
_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_MODES = tuple(_STEPS)  # the numbers of the native operator


# --- one layer in one direction --------------------------------------------------------------------------------------


def _compose_layer(mode, input, state, weights, batch_sizes, reverse):
    """All steps of a layer from single operators: (output, final state). Differentiable any number of times."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    step = _STEPS[mode]
    gates = linear(input, w_ih, b_ih)
    if batch_sizes is not None:
        parts = gates.split(batch_sizes.tolist())
    else:
        parts = gates.unbind(0) if input.dim() == 3 else (gates,)
    outputs = []
    if reverse:
        # The longest sequences begin, shorter ones join.
        current = tuple(s[: parts[-1].size(0)] for s in state)
        for part in reversed(parts):
            have, rows = current[0].size(0), part.size(0)
            if rows > have:
                current = tuple(flambeau.cat([c, s[have:rows]]) for c, s in zip(current, state, strict=True))
            current = step(part, current, w_hh, b_hh, w_hr)
            outputs.append(current[0])
        outputs.reverse()
    else:
        current, ended = state, []
        for part in parts:
            rows = part.size(0)
            if rows < current[0].size(0):
                ended.append(tuple(s[rows:] for s in current))
                current = tuple(s[:rows] for s in current)
            current = step(part, current, w_hh, b_hh, w_hr)
            outputs.append(current[0])
        if ended:
            ended.append(current)
            current = tuple(flambeau.cat(pieces[::-1]) for pieces in zip(*ended, strict=True))
    return flambeau.stack(outputs) if input.dim() == 3 else flambeau.cat(outputs), current


def _layer_of(mode, batch_sizes, reverse):
    """`_compose_layer` as a function of the native operator's tensors."""

    def layer(input, hx, cx, *weights):
        state = (hx,) if cx is None else (hx, cx)
        output, final = _compose_layer(_MODES[mode], input, state, (*weights, None), batch_sizes, reverse)
        return output, final[0], None if cx is None else final[1]

    return layer


def _second_derivatives(
    grads, grad_output, grad_hidden, grad_cell, mode, input, hx, cx, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse, needs
):  # fmt: skip
    layer = _layer_of(mode, batch_sizes, reverse)

    def gradients(grad_output, grad_hidden, grad_cell, *tensors):
        return vjp_through(layer, tensors, (grad_output, grad_hidden, grad_cell), (True,) * len(tensors))

    given = (grad_output, grad_hidden, grad_cell, input, hx, cx, w_ih, w_hh, b_ih, b_hh)
    return vjp_through(gradients, given, grads, needs)


_recurrent_backward = op(
    "_recurrent_backward(Tensor? grad_output, Tensor? grad_hidden, Tensor? grad_cell, int mode, Tensor input, Tensor hx, "
    "Tensor? cx, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh, Tensor? batch_sizes, bool reverse, Tensor output, "
    "Tensor? gates, Tensor? cells, int mask) -> (Tensor input_grad, Tensor hx_grad, Tensor cx_grad, Tensor w_ih_grad, "
    "Tensor w_hh_grad, Tensor b_ih_grad, Tensor b_hh_grad)",
    "The gradients of `_recurrent` with respect to its tensors; those whose bit in `mask` is not set are None.",
    public=False,
    method=False,
    vjp={
        "grad_output, grad_hidden, grad_cell, input, hx, cx, w_ih, w_hh, b_ih, b_hh": _second_derivatives,
        "batch_sizes": None,
        "output": None,
        "gates": None,
        "cells": None,
    },
)


def _layer_gradients(
    grads, mode, input, hx, cx, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse, output, gates, cells, needs
):
    if all(g is None for g in grads[:3]):
        return (None,) * 7
    mask = sum(1 << i for i, needed in enumerate(needs) if needed)
    return _recurrent_backward(
        *grads[:3],
        mode,
        input,
        hx,
        cx,
        w_ih,
        w_hh,
        b_ih,
        b_hh,
        batch_sizes,
        reverse,
        output,
        gates,
        cells,
        mask,
    )


_recurrent = op(
    "_recurrent(int mode, Tensor input, Tensor hx, Tensor? cx, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh, "
    "Tensor? batch_sizes, bool reverse) -> (Tensor output, Tensor hidden, Tensor cell, Tensor gates, Tensor cells)",
    """One recurrent layer in one direction, in float32 or float64: output, final states, and what backward needs.

    mode: 0 for LSTM, 1 for GRU, 2 for tanh, 3 for relu. input (T, N, features), one step (N, features), or with
    `batch_sizes` packed rows. Results that the mode does not have are None.
    """,
    public=False,
    method=False,
    vjp={"input, hx, cx, w_ih, w_hh, b_ih, b_hh": _layer_gradients, "batch_sizes": None},
)


def _run_layer(mode, input, state, weights, batch_sizes, reverse):
    """All steps of a layer: (output, final state). weights: w_ih, w_hh, b_ih, b_hh, w_hr, the last three perhaps None."""
    rows = _GATES[mode] * state[-1].size(-1)
    w_ih, w_hh = weights[:2]
    if w_ih.dim() != 2 or w_hh.dim() != 2 or w_ih.size(0) != rows or w_hh.size(0) != rows:
        raise RuntimeError(
            f"{mode}(): weights for a state with {state[-1].size(-1)} features must have {rows} rows, but got shapes "
            f"{list(w_ih.shape)} and {list(w_hh.shape)}"
        )
    dtype = input.dtype
    fused = weights[4] is None and dtype in (flambeau.float32, flambeau.float64)
    if fused and mode == "gru":  # in autocast, its products are narrower than its state
        fused = not flambeau.is_autocast_enabled("cpu")
    if not fused or any(t is not None and t.dtype != dtype for t in (*state, *weights)):
        return _compose_layer(mode, input, state, weights, batch_sizes, reverse)
    cell = state[1] if mode == "lstm" else None
    output, hidden, cell, _, _ = _recurrent(
        _MODES.index(mode), input, state[0], cell, *weights[:4], batch_sizes, reverse
    )
    return output, (hidden,) if cell is None else (hidden, cell)


# --- a network of layers ---------------------------------------------------------------------------------------------


def _grouped(params, has_biases, projects):
    """The list of parameters as one (w_ih, w_hh, b_ih, b_hh, w_hr) per layer and direction."""
    size = 2 + 2 * has_biases + projects
    if len(params) % size:
        raise RuntimeError(
            f"got an incorrect number of RNN parameters: {len(params)} is not a multiple of {size}"
        )
    groups = []
    for i in range(0, len(params), size):
        group = list(params[i : i + size])
        w_hr = group.pop() if projects else None
        groups.append((*group, w_hr) if has_biases else (*group, None, None, w_hr))
    return groups


def _run_network(
    mode, input, batch_sizes, state, params, has_biases, num_layers, dropout, train, bidirectional
):
    """input (T, N, features) or packed rows; state: tensors (layers * directions, N, hidden). (output, *final state)."""
    projects = mode == "lstm" and state[0].size(-1) != state[1].size(-1)
    weights = _grouped(params, has_biases, projects)
    count = num_layers * (2 if bidirectional else 1)
    if num_layers < 1:
        raise RuntimeError(f"{mode}(): expected at least one layer, but got num_layers={num_layers}")
    if len(weights) != count:
        raise RuntimeError(
            f"Expected more weights in stacked_rnn: {num_layers} layers need {count} groups of weights, "
            f"got {len(weights)}"
        )
    if batch_sizes is None:
        if input.dim() != 3:
            raise IndexError(
                f"{mode}(): Dimension out of range: expected an input with 3 dimensions (steps, batch, features), "
                f"but got shape {list(input.shape)}"
            )
        if input.size(0) == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    for s in state:
        if s.dim() != 3 or s.size(0) != count:
            raise RuntimeError(
                f"Expected more hidden states in stacked_rnn: {num_layers} layers need ({count}, batch, features), "
                f"got {list(s.shape)}"
            )
    finals = []
    for layer in range(num_layers):
        if layer and train and dropout:
            input = flambeau.dropout(input, dropout, True)
        outputs = []
        for direction in range(2 if bidirectional else 1):
            i = len(finals)
            output, final = _run_layer(
                mode, input, tuple(s[i] for s in state), weights[i], batch_sizes, direction == 1
            )
            outputs.append(output)
            finals.append(final)
        input = outputs[0] if len(outputs) == 1 else flambeau.cat(outputs, -1)
    return (input, *(flambeau.stack(pieces) for pieces in zip(*finals, strict=True)))


# The two forms of each function, as in PyTorch: of a padded input, and of packed rows with their batch sizes.
_PADDED = "input hx params has_biases num_layers dropout train bidirectional batch_first".split()
_PACKED = "data batch_sizes hx params has_biases num_layers dropout train bidirectional".split()


_run_network_lower = in_autocast("lower")(_run_network)


def _is_tensors(value):
    return isinstance(value, (list, tuple)) and all(isinstance(v, flambeau.Tensor) for v in value)


def _arguments(name, args, kwargs, tuple_state):
    """The call's arguments by name, in whichever form they fit."""
    is_state = _is_tensors if tuple_state else lambda v: isinstance(v, flambeau.Tensor)
    for names in (_PACKED, _PADDED):
        given = dict(zip(names, args, strict=False))
        if len(args) > 9 or given.keys() & kwargs.keys() or {*given, *kwargs} != {*names}:
            continue
        given.update(kwargs)
        tensors = [given[n] for n in ("input", "data", "batch_sizes") if n in given]
        if _is_tensors(tensors) and is_state(given["hx"]) and _is_tensors(given["params"]):
            return given
    kind = "tuple of Tensors" if tuple_state else "Tensor"
    rest = "tuple of Tensors params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional"
    got = ", ".join([type(a).__name__ for a in args] + [f"{k}={type(v).__name__}" for k, v in kwargs.items()])
    raise TypeError(
        f"{name}() received an invalid combination of arguments - got ({got}), but expected one of:\n"
        f" * (Tensor data, Tensor batch_sizes, {kind} hx, {rest})\n * (Tensor input, {kind} hx, {rest}, bool batch_first)\n"
    )


def _network(name, args, kwargs):
    given = _arguments(name, args, kwargs, tuple_state=name == "lstm")
    hx = given["hx"]
    if name == "lstm" and len(hx) != 2:
        raise RuntimeError("lstm expects two hidden states")
    batch_sizes, input = given.get("batch_sizes"), given.get("data", given.get("input"))
    first = batch_sizes is None and given["batch_first"]
    if first and input.dim() == 3:
        input = input.transpose(0, 1)
    if batch_sizes is not None:
        _check_batch_sizes(name, input, batch_sizes)
    run = _run_network if name == "gru" else _run_network_lower
    output, *final = run(
        name, input, batch_sizes, tuple(hx) if name == "lstm" else (hx,), given["params"], bool(given["has_biases"]),
        given["num_layers"], given["dropout"], given["train"], given["bidirectional"],
    )  # fmt: skip
    return (output.transpose(0, 1) if first else output, *final)


def _check_batch_sizes(name, data, batch_sizes):
    """Sizes of the steps of packed rows: positive, none larger than the one before, all rows together."""
    if batch_sizes.dim() != 1 or batch_sizes.dtype != flambeau.int64 or batch_sizes.device.type != "cpu":
        raise RuntimeError(
            f"{name}(): batch_sizes should be a 1D CPU int64 tensor, but got {batch_sizes.dim()}D "
            f"{batch_sizes.device.type} {batch_sizes.dtype} tensor"
        )
    sizes = batch_sizes.tolist()
    falling = all(a >= b for a, b in zip(sizes, sizes[1:], strict=False))
    if not sizes or sizes[-1] < 1 or not falling or data.dim() < 1 or sum(sizes) != data.size(0):
        raise RuntimeError(
            f"{name}(): batch_sizes must be positive, must not increase, and must add up to the number of rows of data "
            f"of shape {list(data.shape)}, but got {sizes}"
        )


@composite
def lstm(*args, **kwargs):
    """A network of LSTM layers, the function behind `nn.LSTM`: (output, final hidden state, final cell state).

    ``lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)`` for an input
    (T, N, features), or (N, T, features) with batch_first;
    ``lstm(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)`` for packed rows.

    hx: the hidden and the cell state to begin with, each (layers * directions, N, size). params: per layer and direction
    the weights (4 * hidden, features) and (4 * hidden, hidden), with has_biases two biases (4 * hidden), and where the
    hidden state is projected the projection (projected, hidden).

    >>> weights = [flambeau.zeros(4, 1), flambeau.zeros(4, 1)]
    >>> state = (flambeau.zeros(1, 1, 1), flambeau.ones(1, 1, 1))
    >>> flambeau.lstm(flambeau.ones(1, 1, 1), state, weights, False, 1, 0.0, False, False, False)[2]
    tensor([[[0.5000]]])
    """
    return _network("lstm", args, kwargs)


@composite
def gru(*args, **kwargs):
    """A network of GRU layers, the function behind `nn.GRU`: (output, final hidden state).

    The arguments are those of `lstm`, but for hx, which is the hidden state alone, and for three gates instead of four.
    """
    return _network("gru", args, kwargs)


@composite
def rnn_tanh(*args, **kwargs):
    """A network of plain recurrent layers with tanh, the function behind `nn.RNN`: (output, final hidden state).

    The arguments are those of `gru`, with one gate.
    """
    return _network("rnn_tanh", args, kwargs)


@composite
def rnn_relu(*args, **kwargs):
    """A network of plain recurrent layers with relu, the function behind `nn.RNN`: (output, final hidden state).

    The arguments are those of `gru`, with one gate.
    """
    return _network("rnn_relu", args, kwargs)


# --- cells -----------------------------------------------------------------------------------------------------------


def _cell(name, input, state, w_ih, w_hh, b_ih, b_hh):
    mode = name.removesuffix("_cell")
    gates = _GATES[mode]
    for what, tensor in (("input", input), ("w_ih", w_ih), ("w_hh", w_hh)):
        if not isinstance(tensor, flambeau.Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(tensor).__name__}")
    for i, s in enumerate(state):
        if input.dim() != 2 or s.dim() != 2 or w_ih.dim() != 2 or w_hh.dim() != 2:
            raise IndexError(
                f"{name}(): Dimension out of range: expected input, hidden state and weights with 2 dimensions, but got "
                f"shapes {list(input.shape)}, {list(s.shape)}, {list(w_ih.shape)}, {list(w_hh.shape)}"
            )
        if input.size(1) != w_ih.size(1):
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.size(1)} expected {w_ih.size(1)}"
            )
        if input.size(0) != s.size(0):
            raise RuntimeError(
                f"Input batch size {input.size(0)} doesn't match hidden{i} batch size {s.size(0)}"
            )
        if s.size(1) != w_hh.size(1):
            raise RuntimeError(
                f"hidden{i} has inconsistent hidden_size: got {s.size(1)}, expected {w_hh.size(1)}"
            )
    for what, w in (("weight_ih", w_ih), ("weight_hh", w_hh)):
        if w.size(0) != gates * w_hh.size(1):
            raise RuntimeError(
                f"{what} first dim must be {gates} * hidden_size = {gates * w_hh.size(1)}, but got {w.size(0)}"
            )
    return _run_layer(mode, input, state, (w_ih, w_hh, b_ih, b_hh, None), None, False)[1]


@composite
def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an LSTM: the new hidden and cell state, each (N, hidden).

    input (N, features), hx a tuple of hidden and cell state, weights (4 * hidden, features) and (4 * hidden, hidden),
    biases (4 * hidden).
    """
    if not _is_tensors(hx):
        raise TypeError(
            f"lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not {type(hx).__name__}"
        )
    if len(hx) != 2:
        raise RuntimeError(f"lstm_cell expects two hidden states, but got {len(hx)}")
    return _cell("lstm_cell", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)


def _single_cell(name, input, hx, *weights):
    if not isinstance(hx, flambeau.Tensor):
        raise TypeError(f"{name}(): argument 'hx' (position 2) must be Tensor, not {type(hx).__name__}")
    return _cell(name, input, (hx,), *weights)[0]


@composite
def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a GRU: the new hidden state (N, hidden).

    input (N, features), hx (N, hidden), weights (3 * hidden, features) and (3 * hidden, hidden), biases (3 * hidden).
    """
    return _single_cell("gru_cell", input, hx, w_ih, w_hh, b_ih, b_hh)


@composite
def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a plain recurrent network: ``tanh(input @ w_ih.T + b_ih + hx @ w_hh.T + b_hh)``, (N, hidden).

    >>> one = flambeau.ones(1, 1)
    >>> flambeau.rnn_tanh_cell(one, one, one, -one)
    tensor([[0.]])
    """
    return _single_cell("rnn_tanh_cell", input, hx, w_ih, w_hh, b_ih, b_hh)


@composite
def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a plain recurrent network: ``relu(input @ w_ih.T + b_ih + hx @ w_hh.T + b_hh)``, (N, hidden).

    >>> one = flambeau.ones(1, 1)
    >>> flambeau.rnn_relu_cell(one, one, one, one)
    tensor([[2.]])
    """
    return _single_cell("rnn_relu_cell", input, hx, w_ih, w_hh, b_ih, b_hh)


# --- packed rows -----------------------------------------------------------------------------------------------------


def _check_lengths(lengths):
    if lengths.dim() != 1 or lengths.dtype != flambeau.int64 or lengths.device.type != "cpu":
        kind = str(lengths.dtype).removeprefix("torch.")
        name = {"int64": "Long", "float32": "Float", "float64": "Double", "int32": "Int"}.get(kind, kind)
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.dim()}D {lengths.device.type} {name} tensor"
        )


@composite
def _pack_padded_sequence(input, lengths, batch_first):
    """Rows of a padded tensor step by step, and how many each step has; the longest sequence comes first."""
    if not isinstance(lengths, flambeau.Tensor):
        raise TypeError(
            f"_pack_padded_sequence(): argument 'lengths' (position 2) must be Tensor, not {type(lengths).__name__}"
        )
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    _check_lengths(lengths)
    batch, steps = (input.size(0), input.size(1)) if batch_first else (input.size(1), input.size(0))
    if lengths.size(0) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {lengths.size(0)} (batch_size={batch})"
        )
    counts = lengths.tolist()
    if min(counts) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if any(a < b for a, b in zip(counts, counts[1:], strict=False)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. Pass `enforce_sorted=False` "
            "to pack_padded_sequence or pack_sequence to have the sequences sorted"
        )
    if counts[0] > steps:
        raise RuntimeError(
            f"_pack_padded_sequence(): the longest of `lengths` is {counts[0]}, but the input of shape "
            f"{list(input.shape)} has {steps} steps"
        )
    alive = flambeau.arange(counts[0]).unsqueeze(1) < lengths  # (steps, batch)
    step, sequence = alive.nonzero().unbind(1)
    rows = sequence * steps + step if batch_first else step * batch + sequence
    data = input.flatten(0, 1).index_select(0, rows.to(input.device))
    return data, alive.sum(1)


@composite
def _pad_packed_sequence(data, batch_sizes, batch_first, padding_value, total_length):
    """The inverse of `_pack_padded_sequence`: the padded tensor and the lengths."""
    _check_lengths(batch_sizes)
    sizes = batch_sizes.tolist()
    falling = all(a >= b for a, b in zip(sizes, sizes[1:], strict=False))
    if not sizes or sizes[-1] < 1 or not falling or data.dim() < 1 or sum(sizes) > data.size(0):
        raise RuntimeError(
            "_pad_packed_sequence(): batch_sizes must be positive, must not increase, and add up to at most the number of "
            f"rows: shape {list(data.shape)} is invalid for {sizes}"
        )
    steps, batch = len(sizes), sizes[0]
    if total_length > 0:
        if total_length < steps:
            raise RuntimeError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    alive = flambeau.arange(batch) < batch_sizes.unsqueeze(1)  # (steps, batch)
    step, sequence = alive.nonzero().unbind(1)
    padded = data.new_full((steps * batch, *data.shape[1:]), padding_value)
    rows = (step * batch + sequence).to(data.device)
    padded = padded.index_copy(0, rows, data.narrow(0, 0, sum(sizes))).unflatten(0, (steps, batch))
    return (padded.transpose(0, 1) if batch_first else padded), alive.sum(0)
