"""Checkpoints that keep the results of some operators and compute the others again."""

from __future__ import annotations

import enum
from collections import defaultdict, deque

import flambeau
from flambeau import _C, _aten

from ._python_dispatch import TorchDispatchMode
from ._pytree import tree_leaves


class CheckpointPolicy(enum.Enum):
    """Whether a checkpoint keeps the result of an operator. Nothing is moved elsewhere: the offloading ones keep it, too."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


_SAVED = frozenset(CheckpointPolicy) - {CheckpointPolicy.MUST_RECOMPUTE, CheckpointPolicy.PREFER_RECOMPUTE}

#: Operators that no policy is asked about: they compute nothing.
SAC_IGNORED_OPS = {
    getattr(flambeau.ops.aten, name).default
    for name in ("detach", "dim", "is_contiguous", "numel", "size", "storage_offset", "stride")
}


class SelectiveCheckpointContext:
    """What a policy is told: `is_recompute`, and the operator's result in the first call."""

    def __init__(self, *, is_recompute: bool, op_output=None):
        self.is_recompute, self.op_output = is_recompute, op_output


def _detached(result):
    if isinstance(result, flambeau.Tensor):
        return result.detach()
    return tuple(item.detach() for item in result)


def _runs_again(op, func, kwargs) -> bool:
    """Whether no policy is asked: the operator computes nothing, or writes or views what it is given."""
    return func in SAC_IGNORED_OPS or not _C._result_can_be_given(op) or kwargs.get("out") is not None


class _Kept:
    def __init__(self, result):
        self.result = _detached(result)
        self.versions = [t._version for t in tree_leaves(self.result)]

    def unchanged(self) -> bool:
        return self.versions == [t._version for t in tree_leaves(self.result)]


class _Keeping(TorchDispatchMode):
    """The first call: keeps what the policy wants."""

    def __init__(self, policy, kept):
        self._policy, self._kept = policy, kept

    def _answer(self, op, args, kwargs):
        func, result = _aten.overload_of(op), op(*args, **kwargs)
        if _runs_again(op, func, kwargs):
            return result
        context = SelectiveCheckpointContext(is_recompute=False, op_output=result)
        policy = self._policy(context, func, *args, **kwargs)
        if isinstance(policy, bool):
            policy = CheckpointPolicy.MUST_SAVE if policy else CheckpointPolicy.PREFER_RECOMPUTE
        self._kept[func].append(_Kept(result) if policy in _SAVED else None)
        return result


class _Giving(TorchDispatchMode):
    """The second call: gives what was kept, in the same order."""

    def __init__(self, kept, allow_mutation):
        self._kept, self._allow_mutation = kept, allow_mutation

    def _answer(self, op, args, kwargs):
        func = _aten.overload_of(op)
        if _runs_again(op, func, kwargs):
            return op(*args, **kwargs)
        if not self._kept[func]:
            raise RuntimeError(
                f"Trying to backward an extra time through a selective checkpoint, or its function did not repeat itself: "
                f"there is no further result of {func}. You are only allowed to backward once on any region computed under "
                "selective activation checkpoint."
            )
        kept = self._kept[func].popleft()
        if kept is None:
            return op(*args, **kwargs)
        if not (self._allow_mutation or kept.unchanged()):
            raise RuntimeError(
                f"Tensor cached during selective activation checkpoint has been mutated: a result of {func} was written in "
                "place; pass allow_cache_entry_mutation=True if that is meant"
            )
        return _C._call_with_result(op, args, kwargs, _detached(kept.result))


def create_selective_checkpoint_contexts(policy_fn_or_list, allow_cache_entry_mutation: bool = False):
    """The two contexts of a `checkpoint` (its `context_fn`) that keeps results of some operators.

    Args:
        policy_fn_or_list: a function ``(context, operator, *args, **kwargs)`` that returns a `CheckpointPolicy` or a bool,
            or a list of the operators whose results are kept, as overloads of ``torch.ops.aten``. What writes or views its
            input runs again in any case.
        allow_cache_entry_mutation: do not raise where a kept result was written in place.

    >>> from functools import partial
    >>> from flambeau.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
    >>> keep_products = partial(create_selective_checkpoint_contexts, [flambeau.ops.aten.mm.default])
    >>> x = flambeau.ones(2, 2, requires_grad=True)
    >>> y = checkpoint(lambda x: (x @ x).sin(), x, use_reentrant=False, context_fn=keep_products)
    >>> y.sum().backward()
    """
    if isinstance(policy_fn_or_list, list):
        for op in policy_fn_or_list:
            if not isinstance(op, _aten.OpOverload):
                raise ValueError(
                    f"Expected op in `op_list` to be an OpOverload but got: {op} of type {type(op)}. An overload of "
                    "torch.ops.aten.NAME is meant, such as torch.ops.aten.mm.default"
                )
        chosen = frozenset(policy_fn_or_list)

        def policy(context, op, *args, **kwargs):
            return op in chosen

    elif callable(policy_fn_or_list):
        policy = policy_fn_or_list
    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    kept: dict = defaultdict(deque)
    return _Keeping(policy, kept), _Giving(kept, allow_cache_entry_mutation)
