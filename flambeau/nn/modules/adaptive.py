"""Adaptive softmax: many classes, of which few are frequent."""

from collections import namedtuple
from itertools import pairwise

import flambeau

from .. import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]

_ASMoutput = namedtuple("_ASMoutput", ("output", "loss"))


class AdaptiveLogSoftmaxWithLoss(Module):
    """Softmax over classes sorted by frequency, in two stages (Grave et al. 2017): frequent classes and one entry per
    cluster of rarer ones in the head, the classes of a cluster in its tail, which is computed only where it is needed.

    Args:
        in_features: features of the input.
        n_classes: number of classes, the most frequent first.
        cutoffs: increasing class indices at which clusters begin; classes below the first are in the head.
        div_value: cluster k reduces the input to ``in_features // div_value ** k`` features. Default: 4.
        head_bias: learn a bias in the head. Default: False.

    Shapes: input (N, in_features) or (in_features), target (N) or (). Returns ``output``, the log-probability of every
    target (N) or (), and ``loss``, minus their mean.

    >>> softmax = nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[5, 10], div_value=2.0)
    >>> output, loss = softmax(flambeau.randn(3, 8), flambeau.tensor([0, 7, 19]))
    >>> output.shape, softmax.log_prob(flambeau.randn(3, 8)).shape
    (torch.Size([3]), torch.Size([3, 20]))
    """

    def __init__(
        self, in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None
    ):
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            any(int(c) != c for c in cutoffs)
            or cutoffs[0] <= 0
            or cutoffs[-1] > n_classes - 1
            or any(a >= b for a, b in pairwise(cutoffs))
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value "
                f"is between 1 and n_classes-1, but got {cutoffs} for {n_classes} classes"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        factory = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **factory)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            reduced = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, reduced, bias=False, **factory),
                    Linear(reduced, high - low, bias=False, **factory),
                )
            )

    def reset_parameters(self):
        self.head.reset_parameters()
        for reduction, expansion in self.tail:
            reduction.reset_parameters()
            expansion.reset_parameters()

    def forward(self, input_, target_):
        input, target = input_, target_
        batched = target.dim() > 0
        if target.dim() > 1:
            raise RuntimeError(
                f"0D or 1D target tensor expected, multi-target not supported, got shape {list(target.shape)}"
            )
        if batched and (input.dim() != 2 or input.size(0) != target.size(0)):
            raise RuntimeError(
                "Input and target should have the same size in the batch dimension, but got shapes "
                f"{list(input.shape)} and {list(target.shape)}"
            )
        if not batched and input.dim() != 1:
            raise RuntimeError(
                f"0D target tensor expects 1D input tensors, but found inputs with size {input.size()}"
            )
        if target.dtype not in (flambeau.int64, flambeau.int32):
            raise RuntimeError(f"Expected dtype int32/int64 for the target, but got {target.dtype}")
        if not batched:
            input, target = input.unsqueeze(0), target.unsqueeze(0)
        target = target.long()
        if target.numel():
            low, high = target.min().item(), target.max().item()
            if low < 0 or high >= self.n_classes:
                raise RuntimeError(
                    f"Target values should be in [0, {self.n_classes - 1}], but values in range [{low}, {high}] were found."
                )
        column, within = target, input.new_zeros(target.size())
        for i, (low, high) in enumerate(pairwise(self.cutoffs)):
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if rows.numel():
                cluster = F.log_softmax(self.tail[i](input.index_select(0, rows)), 1)
                classes = (target.index_select(0, rows) - low).unsqueeze(1)
                within = within.index_copy(0, rows, cluster.gather(1, classes).squeeze(1))
                column = column.index_fill(0, rows, self.shortlist_size + i)
        head = F.log_softmax(self.head(input), 1)
        output = within + head.gather(1, column.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _get_full_log_prob(self, input, head_output):
        """Log-probabilities (N, n_classes), given the head's scores."""
        head = F.log_softmax(head_output, 1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            cluster = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(tail(input), 1) + cluster)
        return flambeau.cat(parts, 1)

    def log_prob(self, input):
        """Log-probabilities of all classes, (N, n_classes), for an input (N, in_features)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input):
        """The most probable class, (N); clusters that the head does not prefer are not looked into."""
        head = self.head(input)
        output = head.argmax(1)
        rows = (output >= self.shortlist_size).nonzero().squeeze(1)
        if rows.numel() == 0:
            return output
        full = self._get_full_log_prob(input.index_select(0, rows), head.index_select(0, rows))
        return output.index_copy(0, rows, full.argmax(1))
