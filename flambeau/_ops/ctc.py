"""Connectionist temporal classification (Graves et al. 2006): the loss of label sequences without an alignment."""

import flambeau

from .registry import composite, op, takes

_ctc_loss_backward = op(
    "_ctc_loss_backward(Tensor grad, Tensor log_probs, Tensor targets, object input_lengths, object target_lengths, "
    "Tensor neg_log_likelihood, Tensor log_alpha, int blank, bool zero_infinity=False) -> Tensor",
    """The gradient of `_ctc_loss`, for log-probabilities that come from `log_softmax`: as in PyTorch, it already accounts
    for their sum. A class of probability 0 has gradient 0.""",
    public=False,
    method=False,
    why_not="not written",
)


def _gradient(
    grad, log_probs, targets, input_lengths, target_lengths, output, log_alpha, blank, zero_infinity
):
    if grad is None:
        return None
    return _ctc_loss_backward(
        grad, log_probs, targets, input_lengths, target_lengths, output, log_alpha, blank, zero_infinity
    )


for _suffix, _lengths in (("", "int[]"), (".Tensor", "Tensor")):
    op(
        f"_ctc_loss{_suffix}(Tensor log_probs, Tensor targets, {_lengths} input_lengths, {_lengths} target_lengths, "
        "int blank=0, bool zero_infinity=False) -> (Tensor output, Tensor log_alpha)",
        """Minus the log-probability of every sequence of labels, and log-probabilities of prefixes (N, T, 2 S + 1) that
        backward needs. See `flambeau.nn.functional.ctc_loss` for the arguments.""",
        impl="_ctc_loss",
        method=False,
        vjp={
            "log_probs": _gradient,
            "targets": None,
            **({} if _suffix == "" else {"input_lengths": None, "target_lengths": None}),
        },
    )


@composite
@takes(
    *(
        f"ctc_loss(Tensor log_probs, Tensor targets, {lengths} input_lengths, {lengths} target_lengths, "
        "int blank=0, int reduction=0, bool zero_infinity=False)"
        for lengths in ("int[]", "Tensor")
    )
)
def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction=0, zero_infinity=False):
    """`nn.functional.ctc_loss` with a number as its reduction: 0 (none, and the default), 1 (mean) or 2 (sum).

    >>> log_probs = flambeau.zeros(4, 1, 3).log_softmax(2)
    >>> flambeau.ctc_loss(log_probs, flambeau.tensor([[1, 2]]), (4,), (2,), reduction=2)
    tensor(1.6864)
    """
    single = log_probs.dim() == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    loss, _ = flambeau._ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)
    if zero_infinity:
        loss = loss.masked_fill(loss.isinf(), 0)
    if reduction == 1:
        lengths = flambeau.as_tensor(target_lengths, dtype=loss.dtype, device=loss.device).reshape(-1)
        return (loss / lengths.clamp(min=1)).mean()
    if reduction == 2:
        return loss.sum()
    return loss.squeeze(0) if single else loss
