"""The optimizers' steps: one native pass over the memory of all parameters.

Lists hold a tensor per parameter; an absent kind of state is an empty list. Nothing is recorded for autograd.
"""

from .registry import op

sgd_step = op(
    "sgd_step(Tensor[] params, Tensor[] grads, Tensor[] buffers, float lr, float momentum, float dampening, "
    "float weight_decay, bool nesterov, bool maximize) -> object",
    "``param -= lr * direction`` for every parameter, with momentum where there are buffers.",
    public=False,
    method=False,
    why_not="not differentiable",
)
adam_step = op(
    "adam_step(Tensor[] params, Tensor[] grads, Tensor[] exp_avgs, Tensor[] exp_avg_sqs, Tensor[] max_exp_avg_sqs, "
    "Tensor[] steps, float lr, float beta1, float beta2, float eps, float weight_decay, bool decoupled, bool maximize)"
    " -> object",
    """One step of Adam for every parameter; counts up the one-element tensors `steps`.

    decoupled: shrink the parameters by the weight decay (AdamW) instead of adding it to the gradient.
    """,
    public=False,
    method=False,
    why_not="not differentiable",
)
