"""Recurrent layers and their cells."""

import math
import numbers
import warnings

import flambeau

from .. import init
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .module import Module

__all__ = ["RNNBase", "RNN", "LSTM", "GRU", "RNNCellBase", "RNNCell", "LSTMCell", "GRUCell"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _permuted(tensor, permutation):
    """The batch, dimension 1, in another order."""
    return tensor if permutation is None else tensor.index_select(1, permutation)


def apply_permutation(tensor, permutation, dim=1):
    """`tensor.index_select(dim, permutation)`, an older helper."""
    warnings.warn(
        "apply_permutation is deprecated, please use tensor.index_select(dim, permutation) instead",
        FutureWarning,
        stacklevel=2,
    )
    return tensor.index_select(dim, permutation)


class RNNBase(Module):
    """What :class:`RNN`, :class:`LSTM` and :class:`GRU` share: their weights, and the checks of input and hidden state.

    Args:
        mode: 'LSTM', 'GRU', 'RNN_TANH' or 'RNN_RELU'.
        input_size, hidden_size: features of the input, of the hidden state.
        num_layers: layers on top of each other, each the next one's input. Default: 1.
        bias: learn two biases per layer. Default: True.
        batch_first: input and output are (N, T, features) instead of (T, N, features). Default: False.
        dropout: in training, the probability with which outputs of all layers but the last are zeroed. Default: 0.
        bidirectional: a second network per layer reads the sequence from its end. Default: False.
        proj_size: features that an LSTM's hidden state is projected to; 0: none.

    Weights of layer k: ``weight_ih_lk`` (gates * hidden_size, input features), ``weight_hh_lk`` (gates * hidden_size,
    hidden features), ``bias_ih_lk``, ``bias_hh_lk``, ``weight_hr_lk`` (proj_size, hidden_size), and the same with the
    ending ``_reverse``. All start uniform on [-k, k] with ``k = 1 / sqrt(hidden_size)``.
    """

    __constants__ = [
        "mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size",
    ]  # fmt: skip

    def __init__(
        self,
        mode,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_sizes(dropout)
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        rows, directions = _GATES[mode] * hidden_size, 2 if bidirectional else 1
        hidden = proj_size or hidden_size
        self._all_weights = []
        for layer in range(num_layers):
            features = input_size if layer == 0 else hidden * directions
            for direction in range(directions):
                shapes = {"weight_ih": (rows, features), "weight_hh": (rows, hidden)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                ending = f"_l{layer}" + ("_reverse" if direction else "")
                for name, shape in shapes.items():
                    weight = flambeau.empty(shape, device=device, dtype=dtype)
                    setattr(self, name + ending, Parameter(weight))
                self._all_weights.append([name + ending for name in shapes])
        self.reset_parameters()

    def _check_sizes(self, dropout):
        if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= self.dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
                f"greater than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=4,
            )
        kinds = {"input_size": int, "hidden_size": int, "bias": bool, "batch_first": bool}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
        for name in ("input_size", "hidden_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than zero, got {getattr(self, name)}")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    # Read from the module each time, so that parametrized, pruned or replaced weights count.
    @property
    def _flat_weights_names(self):
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self):
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @property
    def all_weights(self):
        """The parameters: a list per layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self):
        """Does nothing: the weights are read where they are."""

    def reset_parameters(self):
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def __getstate__(self):
        # PyTorch's own modules keep these two among their attributes.
        return {
            **self.__dict__,
            "_flat_weights_names": self._flat_weights_names,
            "_flat_weights": self._flat_weights,
        }

    def __setstate__(self, state):
        super().__setstate__(state)
        for name in ("_flat_weights_names", "_flat_weights", "_flat_weight_refs"):
            self.__dict__.pop(name, None)
        self.__dict__.setdefault("proj_size", 0)

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False,
        }  # fmt: skip
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text

    # --- checks ------------------------------------------------------------------------------------------------------

    def check_input(self, input, batch_sizes):
        """Raise unless the input has the layer's dtype and number of features."""
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype != weight.dtype and not flambeau.is_autocast_enabled(input.device.type):
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        dims = 2 if batch_sizes is not None else 3
        if input.dim() != dims:
            raise RuntimeError(f"input must have {dims} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )

    def _hidden_shape(self, input, batch_sizes, features):
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0 if self.batch_first else 1)
        return (self.num_layers * (2 if self.bidirectional else 1), batch, features)

    def get_expected_hidden_size(self, input, batch_sizes):
        """The shape of the hidden state that belongs to an input."""
        return self._hidden_shape(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(self, hx, expected_hidden_size, msg="Expected hidden size {}, got {}"):
        """Raise unless the hidden state has the shape."""
        if hx.size() != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def check_forward_args(self, input, hidden, batch_sizes):
        """Raise unless input and hidden state fit the layer and each other."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx, permutation):
        """The hidden state with its batch in another order; None leaves it."""
        return _permuted(hx, permutation)

    # --- one call ----------------------------------------------------------------------------------------------------

    def _check_dims(self, input, states):
        """Raise unless input (T, N, features) or (T, features) and states agree; whether there is a batch."""
        if input.dim() not in (2, 3):
            kind = "tensor " if isinstance(self, RNN) else ""
            raise ValueError(
                f"{self._get_name()}: Expected input to be 2D or 3D, got {input.dim()}D {kind}instead"
            )
        batched = input.dim() == 3
        if states is not None and any(s.dim() != input.dim() for s in states):
            which = "batched 3-D" if batched else "unbatched 2-D"
            if len(states) == 1:
                found = f"hx should also be {input.dim()}-D but got {states[0].dim()}-D tensor"
            else:
                found = (
                    f"hx and cx should also be {input.dim()}-D but got "
                    f"({states[0].dim()}-D, {states[1].dim()}-D) tensors"
                )
            raise RuntimeError(f"For {which} input, {found}")
        return batched

    def _run(self, function, input, hx):
        """forward() of all layers: hx and the second result are tensors, or for an LSTM pairs of them."""
        is_lstm = self.mode == "LSTM"
        packed = input if isinstance(input, PackedSequence) else None
        batched = True
        if packed is not None:
            input = packed.data
        else:
            batched = self._check_dims(input, None if hx is None else (hx[0], hx[1]) if is_lstm else (hx,))
            if not batched:
                input = input.unsqueeze(0 if self.batch_first else 1)
                if hx is not None:
                    hx = tuple(h.unsqueeze(1) for h in hx) if is_lstm else hx.unsqueeze(1)
        batch_sizes = packed.batch_sizes if packed is not None else None
        if hx is None:
            hx = flambeau.zeros(
                self.get_expected_hidden_size(input, batch_sizes), dtype=input.dtype, device=input.device
            )
            if is_lstm:
                shape = self.get_expected_cell_size(input, batch_sizes)
                hx = (hx, flambeau.zeros(shape, dtype=input.dtype, device=input.device))
        elif packed is not None:
            # The caller's order of sequences is not the packed one.
            hx = self.permute_hidden(hx, packed.sorted_indices)
        self.check_forward_args(input, hx, batch_sizes)
        settings = [self._flat_weights, self.bias, self.num_layers, self.dropout]
        settings += [self.training, self.bidirectional]
        if packed is not None:
            output, *final = function(input, batch_sizes, hx, *settings)
            output = PackedSequence(output, batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        else:
            output, *final = function(input, hx, *settings, self.batch_first)
        if not batched:
            output = output.squeeze(0 if self.batch_first else 1)
            final = [s.squeeze(1) for s in final]
        final = tuple(final) if is_lstm else final[0]
        return output, self.permute_hidden(final, packed.unsorted_indices) if packed is not None else final


class RNN(RNNBase):
    """Plain recurrent layers: ``h[t] = tanh(x[t] @ weight_ih.T + bias_ih + h[t-1] @ weight_hh.T + bias_hh)``.

    Args:
        nonlinearity: 'tanh' or 'relu'. Default: 'tanh'.
        The others: see :class:`RNNBase`.

    Shapes: input (T, N, input_size), or (N, T, input_size) with batch_first, or unbatched (T, input_size), or a
    :class:`~flambeau.nn.utils.rnn.PackedSequence`; hx (num_layers * directions, N, hidden_size), zeros if it is not given;
    output (T, N, directions * hidden_size), laid out as the input; and the final hidden state, as hx.

    >>> output, h = nn.RNN(10, 20, num_layers=2)(flambeau.randn(5, 3, 10))
    >>> output.shape, h.shape
    (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self.nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + self.nonlinearity.upper(), *args, **kwargs)

    def forward(self, input, hx=None):
        return self._run(flambeau.rnn_tanh if self.mode == "RNN_TANH" else flambeau.rnn_relu, input, hx)


class LSTM(RNNBase):
    """Layers of long short-term memory: gates decide what enters, stays in and leaves a cell state.

    Args: see :class:`RNNBase`.

    Shapes: as :class:`RNN`'s, but for hx, which is a pair (hidden state, cell state), and so is the second result. With
    proj_size the hidden state and the output have proj_size features in the place of hidden_size.

    >>> output, (h, c) = nn.LSTM(10, 20, bidirectional=True)(flambeau.randn(5, 3, 10))
    >>> output.shape, h.shape, c.shape
    (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input, batch_sizes):
        """The shape of the cell state that belongs to an input."""
        return self._hidden_shape(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input, hidden, batch_sizes):
        """Raise unless input, hidden state and cell state fit the layer and each other."""
        self.check_input(input, batch_sizes)
        message = "Expected hidden[{}] size {{}}, got {{}}"
        self.check_hidden_size(
            hidden[0], self.get_expected_hidden_size(input, batch_sizes), message.format(0)
        )
        self.check_hidden_size(hidden[1], self.get_expected_cell_size(input, batch_sizes), message.format(1))

    def permute_hidden(self, hx, permutation):
        """Both states with their batch in another order; None leaves them."""
        return hx if permutation is None else (_permuted(hx[0], permutation), _permuted(hx[1], permutation))

    def forward(self, input, hx=None):
        return self._run(flambeau.lstm, input, hx)


class GRU(RNNBase):
    """Layers of gated recurrent units: a gate mixes the old hidden state with a new one.

    Args: see :class:`RNNBase`. Shapes: as :class:`RNN`'s.

    >>> output, h = nn.GRU(10, 20, batch_first=True)(flambeau.randn(3, 5, 10))
    >>> output.shape, h.shape
    (torch.Size([3, 5, 20]), torch.Size([1, 3, 20]))
    """

    def __init__(self, *args, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input, hx=None):
        return self._run(flambeau.gru, input, hx)


# --- cells -----------------------------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What the cells share: ``weight_ih`` (gates * hidden_size, input_size), ``weight_hh`` (gates * hidden_size,
    hidden_size), ``bias_ih`` and ``bias_hh``, all uniform on [-k, k] with ``k = 1 / sqrt(hidden_size)``."""

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        for name, shape in shapes.items():
            setattr(self, name, Parameter(flambeau.empty(shape, device=device, dtype=dtype)))
        for name in ("bias_ih", "bias_hh"):
            value = Parameter(flambeau.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self):
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def _step(self, function, input, states, names):
        """One step of (features) or (N, features); states as a tuple, or None for zeros."""
        name = self._get_name()
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for what, s in zip(names, states or (), strict=False):
            if s.dim() not in (1, 2):
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {s.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        if states is None:
            zeros = flambeau.zeros(input.size(0), self.hidden_size, dtype=input.dtype, device=input.device)
            states = (zeros,) * len(names)
        elif not batched:
            for i, s in enumerate(states):
                if s.dim() == 2:
                    raise RuntimeError(
                        f"hidden{i} has inconsistent hidden_size: got {s.size(0)}, expected {self.hidden_size}: an input "
                        f"without a batch takes a hidden state without one, got shape {list(s.shape)}"
                    )
            states = tuple(s.unsqueeze(0) for s in states)
        hx = states if len(names) == 2 else states[0]
        result = function(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        if batched:
            return result
        return tuple(r.squeeze(0) for r in result) if len(names) == 2 else result.squeeze(0)


class RNNCell(RNNCellBase):
    """One step of a plain recurrent network: ``tanh(x @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh)``.

    Args:
        input_size, hidden_size: features of the input, of the hidden state.
        bias: learn two biases. Default: True.
        nonlinearity: 'tanh' or 'relu'. Default: 'tanh'.

    Shapes: input (N, input_size) or (input_size), hidden state (N, hidden_size) or (hidden_size), zeros if it is not given.

    >>> nn.RNNCell(10, 20)(flambeau.randn(3, 10)).shape
    torch.Size([3, 20])
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        function = flambeau.rnn_tanh_cell if self.nonlinearity == "tanh" else flambeau.rnn_relu_cell
        return self._step(function, input, None if hx is None else (hx,), ("hidden",))


class LSTMCell(RNNCellBase):
    """One step of an LSTM.

    Args:
        input_size, hidden_size: features of the input, of the hidden state.
        bias: learn two biases. Default: True.

    Shapes: input (N, input_size) or (input_size), the state a pair of (N, hidden_size) or (hidden_size), zeros if it is not
    given; the new hidden and cell state.

    >>> h, c = nn.LSTMCell(10, 20)(flambeau.randn(3, 10))
    >>> h.shape, c.shape
    (torch.Size([3, 20]), torch.Size([3, 20]))
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        if isinstance(hx, flambeau.Tensor):
            raise TypeError("lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not Tensor")
        return self._step(flambeau.lstm_cell, input, None if hx is None else tuple(hx), ("hx[0]", "hx[1]"))


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit.

    Args:
        input_size, hidden_size: features of the input, of the hidden state.
        bias: learn two biases. Default: True.

    Shapes: input (N, input_size) or (input_size), hidden state (N, hidden_size) or (hidden_size), zeros if it is not given.

    >>> nn.GRUCell(10, 20)(flambeau.randn(3, 10)).shape
    torch.Size([3, 20])
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._step(flambeau.gru_cell, input, None if hx is None else (hx,), ("hidden",))
