"""A layer of experts, of which each token visits a few: on one process, or with the experts spread over several.

A router gives each token a probability for each expert, and its `top_k` best experts. An expert takes at most `capacity`
tokens, in the order in which they come, first choices before second ones; the others skip it. How tokens find their
places::

    expert_mask = one_hot(expert_index, num_experts)            # (choices, E): which expert a choice is for
    position = (expert_mask.cumsum(0) - 1) at that expert       # how many before it chose the same

With a process group each process holds ``num_experts / size`` experts. It sends the tokens that its router found for an
expert to the process that has it, and gets the results back, by two `all_to_all_single` operations. Where no token is left
out, results are those of one process.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flambeau
from flambeau import nn
from flambeau.nn import functional as F

__all__ = ["MixtureOfExperts", "Routing", "load_balance_loss", "route"]


class Routing(NamedTuple):
    """Where T tokens go. Choices are in the order of importance: all first ones, then all second ones ...

    Attributes:
        expert: (top_k * T,) the expert of each choice.
        position: (top_k * T,) its place among those of the expert.
        kept: (top_k * T,) whether the place is within the capacity.
        weight: (top_k * T,) what the expert's result counts, with a gradient.
        counts: (E,) how many choices each expert had.
    """

    expert: flambeau.Tensor
    position: flambeau.Tensor
    kept: flambeau.Tensor
    weight: flambeau.Tensor
    counts: flambeau.Tensor


def route(probabilities, top_k: int, capacity: int | None = None, *, normalize: bool = True) -> Routing:
    """Choose experts and places for tokens.

    Args:
        probabilities: (T, E) of each expert for each token.
        top_k: how many experts a token visits.
        capacity: how many tokens an expert takes; None: all.
        normalize: let the weights of a token's choices sum to 1.

    >>> from flambeau.contrib.moe import route
    >>> chosen = route(flambeau.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), top_k=1, capacity=1)
    >>> chosen.expert, chosen.position, chosen.kept
    (tensor([0, 0, 1]), tensor([0, 1, 0]), tensor([ True, False,  True]))
    """
    if probabilities.dim() != 2:
        raise RuntimeError(
            f"route: expected probabilities of shape (tokens, experts), got {list(probabilities.shape)}"
        )
    experts = probabilities.size(1)
    if not 0 < top_k <= experts:
        raise ValueError(f"route: top_k = {top_k} of {experts} experts")
    weight, expert_index = probabilities.topk(top_k, dim=-1)
    if normalize:
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-9)
    weight, expert_index = weight.t().reshape(-1), expert_index.t().reshape(-1)
    expert_mask = F.one_hot(expert_index, experts)
    position = (expert_mask.cumsum(0) - 1).gather(1, expert_index.unsqueeze(1)).squeeze(1)
    kept = flambeau.ones_like(position, dtype=flambeau.bool) if capacity is None else position < capacity
    return Routing(expert_index, position, kept, weight, expert_mask.sum(0))


def load_balance_loss(probabilities, counts, group=None):
    """``E * sum(f * p)``: f is each expert's share of the choices, p its mean probability. 1 if all are equal, else more.

    With a group, f and p are those of the tokens of all processes, which have to be as many in each.
    """
    share = counts.to(probabilities.dtype) / counts.sum().clamp_min(1)
    mean = probabilities.mean(0)
    if group is not None:
        from flambeau.distributed import ReduceOp, all_reduce
        from flambeau.distributed.nn import functional

        all_reduce(share, ReduceOp.AVG, group)
        mean = functional.all_reduce(mean, ReduceOp.AVG, group)
    return probabilities.size(1) * (share * mean).sum()


class MixtureOfExperts(nn.Module):
    """Two-layer networks, the experts, of which each token visits `top_k`.

    Shapes: input (..., dim), output the same.

    Args:
        dim: size of a token.
        hidden: size between an expert's layers.
        num_experts: how many experts there are in all.
        top_k: how many of them a token visits. Default: 2.
        capacity_factor: an expert takes this many times its even share of the choices, rounded up; None: all that come.
            Default: None.
        activation: between an expert's layers. Default: ``F.gelu``.
        normalize: let the weights of a token's experts sum to 1. Default: True.
        group: a process group over which the experts are spread; the router is the same in all processes.

    Attributes:
        load_balance_loss: of the last forward pass. Add it, times 0.01 say, to the loss, or the router may neglect experts.
        dropped: the share of choices of the last forward pass that found no place.

    With the same seed in all processes, the experts are those that one process would have. The gradients of a process's
    experts are those of the sum of the losses of all processes. `DistributedDataParallel` must leave them alone: pass
    `expert_parameter_names` to its ``_set_params_and_buffers_to_ignore_for_model``.

    >>> from flambeau.contrib.moe import MixtureOfExperts
    >>> layer = MixtureOfExperts(8, 16, num_experts=4, top_k=2)
    >>> layer(flambeau.randn(3, 5, 8)).shape, layer.dropped
    (torch.Size([3, 5, 8]), 0.0)
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        num_experts: int,
        top_k: int = 2,
        capacity_factor: float | None = None,
        *,
        activation=F.gelu,
        normalize: bool = True,
        group=None,
        dtype=None,
    ):
        super().__init__()
        if capacity_factor is not None and capacity_factor <= 0:
            raise ValueError(
                f"MixtureOfExperts: capacity_factor must be positive or None, got {capacity_factor}"
            )
        if not 0 < top_k <= num_experts:
            raise ValueError(f"MixtureOfExperts: top_k = {top_k} of {num_experts} experts")
        size, rank = (1, 0) if group is None else (group.size(), group.rank())
        if num_experts % size:
            raise ValueError(
                f"MixtureOfExperts: {num_experts} experts cannot be spread evenly over {size} processes"
            )
        self.dim, self.hidden, self.num_experts, self.top_k = dim, hidden, num_experts, top_k
        self.capacity_factor, self.activation, self.normalize = capacity_factor, activation, normalize
        self.group, self.local_experts = group, num_experts // size
        self.router = nn.Linear(dim, num_experts, bias=False, dtype=dtype)
        own = slice(rank * self.local_experts, (rank + 1) * self.local_experts)
        for name, shape, fan in (("1", (dim, hidden), dim), ("2", (hidden, dim), hidden)):
            bound = 1 / math.sqrt(fan)
            weight = flambeau.empty(num_experts, *shape, dtype=dtype).uniform_(-bound, bound)
            bias = flambeau.empty(num_experts, 1, shape[1], dtype=dtype).uniform_(-bound, bound)
            self.register_parameter(f"weight{name}", nn.Parameter(weight[own].clone()))
            self.register_parameter(f"bias{name}", nn.Parameter(bias[own].clone()))
        self.load_balance_loss = None
        self.dropped = 0.0

    def extra_repr(self) -> str:
        return (
            f"{self.dim}, {self.hidden}, num_experts={self.num_experts}, top_k={self.top_k}, "
            f"capacity_factor={self.capacity_factor}, local_experts={self.local_experts}"
        )

    def expert_parameter_names(self, prefix: str = "") -> list[str]:
        """The names of the parameters that differ between the processes of the group, `prefix` put before them."""
        return [prefix + name for name in ("weight1", "bias1", "weight2", "bias2")]

    def forward(self, input):
        tokens = input.reshape(-1, self.dim)  # (T, dim)
        probabilities = self.router(tokens).softmax(-1)
        capacity = None
        if self.capacity_factor is not None:
            capacity = math.ceil(self.capacity_factor * self.top_k * tokens.size(0) / self.num_experts)
        chosen = route(probabilities, self.top_k, capacity, normalize=self.normalize)
        self.load_balance_loss = load_balance_loss(probabilities, chosen.counts, self.group)
        self.dropped = 1.0 - chosen.kept.float().mean().item() if chosen.kept.numel() else 0.0
        places = self._places(chosen.counts) if capacity is None else capacity
        # Each kept choice has a row of its own among num_experts * places.
        row = (chosen.expert * places + chosen.position)[chosen.kept]
        token = flambeau.arange(tokens.size(0)).repeat(self.top_k)[chosen.kept]
        sent = tokens.new_zeros(self.num_experts * places, self.dim).index_copy(0, row, tokens[token])
        results = self._experts(sent, places)[row] * chosen.weight[chosen.kept].unsqueeze(-1)
        return flambeau.zeros_like(tokens).index_add(0, token, results).view(input.shape)

    def _places(self, counts) -> int:
        """Places for each expert, so that none is missing: as many in all processes."""
        most = counts.max().reshape(1)
        if self.group is not None:
            from flambeau.distributed import ReduceOp, all_reduce

            all_reduce(most, ReduceOp.MAX, self.group)
        return int(most)

    def _experts(self, sent, places: int):
        """The results for the rows (num_experts * places, dim), in the same order."""
        if self.group is None or self.group.size() == 1:
            return self._compute(sent.view(self.num_experts, places, self.dim)).reshape(-1, self.dim)
        from flambeau.distributed.nn.functional import all_to_all_single

        size = self.group.size()
        # What comes is ordered by process, then expert; an expert wants the rows of all processes together.
        come = all_to_all_single(flambeau.empty_like(sent), sent, group=self.group)
        by_expert = come.view(size, self.local_experts, places, self.dim).transpose(0, 1)
        found = self._compute(by_expert.reshape(self.local_experts, size * places, self.dim))
        back = found.view(self.local_experts, size, places, self.dim).transpose(0, 1).reshape(-1, self.dim)
        return all_to_all_single(flambeau.empty_like(back), back, group=self.group)

    def _compute(self, rows):
        inner = self.activation(rows @ self.weight1 + self.bias1)
        return inner @ self.weight2 + self.bias2
