"""Averaging gradients over processes while the backward pass goes on: what `DistributedDataParallel` is made of."""

from __future__ import annotations

import flambeau
from flambeau.autograd import Variable
from flambeau.futures import Future

from .operations import all_reduce

__all__ = ["GradBucket", "Reducer"]


class GradBucket:
    """Gradients of several parameters in one flat tensor, as a communication hook sees them."""

    def __init__(self, bucket: _Bucket, is_last: bool):
        self._bucket, self._is_last = bucket, is_last

    def index(self) -> int:
        """The bucket's number: buckets with the parameters that were registered last come first."""
        return self._bucket.index

    def buffer(self):
        """The flat tensor."""
        return self._bucket.flat

    def gradients(self) -> list:
        """The flat tensor's parts, in the shapes of the parameters."""
        return self._bucket.views

    def parameters(self) -> list:
        """The parameters."""
        return self._bucket.params

    def is_last(self) -> bool:
        """Whether no bucket comes after this."""
        return self._is_last

    def set_buffer(self, buffer) -> None:
        """Replace the flat tensor's elements."""
        self._bucket.flat.copy_(buffer)


class _Bucket:
    """Neighbouring parameters of one dtype, and the memory in which their gradients travel."""

    def __init__(self, index: int, params: list):
        self.index, self.params = index, params
        self.flat = flambeau.zeros(sum(p.numel() for p in params), dtype=params[0].dtype)
        self.views, start = [], 0
        for p in params:
            self.views.append(self.flat[start : start + p.numel()].view(p.shape))
            start += p.numel()
        self.pending = len(params)
        self.started: Future | None = None
        self.work = None


def assign_buckets(params: list, limits: list[int]) -> list[list]:
    """Parameters in groups: last ones first, one dtype each, up to `limits` bytes (the last of them counts for the rest)."""
    groups, open_groups = [], {}
    for p in reversed(params):
        group = open_groups.setdefault(p.dtype, [])
        group.append(p)
        limit = limits[min(len(groups), len(limits) - 1)]
        if sum(q.numel() * q.element_size() for q in group) >= limit:
            groups.append(open_groups.pop(p.dtype))
    return groups + [group for group in open_groups.values() if group]


class Reducer:
    """Averages the gradients of `params` (pairs of name and parameter) over a group.

    Every process starts its buckets in the same order, whatever the order in which gradients come: collective operations
    have to match.
    """

    def __init__(
        self, params: list[tuple[str, object]], group, limits: list[int], find_unused: bool, as_views: bool
    ):
        self.names = {id(p): name for name, p in params}
        self.params = [p for _, p in params]
        self.group, self.find_unused, self.as_views = group, find_unused, as_views
        self.hook = None
        self.divisor = group.size()
        groups = assign_buckets(self.params, limits)
        self.buckets = [_Bucket(i, each) for i, each in enumerate(groups)]
        self._place = {id(p): (bucket, i) for bucket in self.buckets for i, p in enumerate(bucket.params)}
        self.expecting = False
        self._ready: set[int] = set()
        self._used: set[int] = set()
        self._unused: list = []
        self._next = 0
        self._callback_queued = False
        self._handles = [p.register_post_accumulate_grad_hook(self._arrived) for p in self.params]

    def remove_hooks(self) -> None:
        """Let go of the parameters."""
        for handle in self._handles:
            handle.remove()

    # ---- around the backward pass

    def check_finished(self) -> None:
        """Complain if the last backward pass left gradients out."""
        if not (self.expecting and self._callback_queued is None):
            return
        missing = [self.names[id(p)] for p in self.params if id(p) not in self._ready]
        self.expecting = False
        raise RuntimeError(
            "Expected to have finished reduction in the prior iteration before starting a new one. This error indicates "
            "that your module has parameters that were not used in producing loss. You can enable unused parameter "
            "detection by passing the keyword argument `find_unused_parameters=True` to "
            "`torch.nn.parallel.DistributedDataParallel`, and by making sure all `forward` function outputs participate in "
            "calculating loss. Parameters which did not "
            f"receive grad for rank {self.group.rank()}: {', '.join(missing)}"
        )

    def prepare_for_backward(self, outputs: list) -> None:
        """Expect a backward pass from these tensors."""
        self.expecting, self._callback_queued, self._next = True, False, 0
        self._ready.clear()
        self._used.clear()
        for bucket in self.buckets:
            bucket.pending, bucket.started, bucket.work = len(bucket.params), None, None
        self._unused = []
        if self.find_unused:
            reached = parameters_reached(outputs)
            self._unused = [p for p in self.params if id(p) not in reached]

    def _arrived(self, param) -> None:
        if not self.expecting:
            return
        if not self._callback_queued:
            self._callback_queued = True
            Variable._execution_engine.queue_callback(self._finish)
            # Not sooner: what a program does between the two passes must not meet with buckets in some processes only.
            for unused in self._unused:
                self._mark(unused)
        if id(param) in self._ready:
            self.expecting = False
            raise RuntimeError(
                "Expected to mark a variable ready only once. This error is caused by one of the following reasons: 1) Use "
                "of a module parameter outside the `forward` function, or in several backward passes of one forward pass. "
                f"2) Reused parameters in several reentrant backward passes. Parameter: {self.names[id(param)]}"
            )
        self._used.add(id(param))
        self._mark(param)

    def _mark(self, param) -> None:
        self._ready.add(id(param))
        bucket, i = self._place[id(param)]
        view = bucket.views[i]
        grad = param.grad
        with flambeau.no_grad():
            if grad is None:  # unused, and no earlier pass has left anything
                view.zero_()
            elif self.hook is None:
                flambeau.mul(grad, 1.0 / self.divisor, out=view)
            elif grad is not view:
                view.copy_(grad)
        bucket.pending -= 1
        if bucket.pending == 0:
            self._start_ready()

    def _start_ready(self) -> None:
        while self._next < len(self.buckets) and self.buckets[self._next].pending == 0:
            bucket = self.buckets[self._next]
            self._next += 1
            if self.hook is None:
                bucket.work = all_reduce(bucket.flat, group=self.group, async_op=True)
            else:
                state, hook = self.hook
                bucket.started = hook(state, GradBucket(bucket, self._next == len(self.buckets)))

    def _finish(self) -> None:
        if self._next < len(self.buckets):
            self._callback_queued = None  # the next forward pass says what is missing
            return
        used = self._used_anywhere() if self.find_unused else None
        for bucket in self.buckets:
            if bucket.work is not None:
                bucket.work.wait()
            else:
                result = bucket.started.wait()
                result = result[0] if isinstance(result, (list, tuple)) else result
                if result is not bucket.flat:
                    bucket.flat.copy_(result)
            for p, view in zip(bucket.params, bucket.views, strict=True):
                if used is None or id(p) in used:  # gradients of what nobody used stay
                    self._deliver(p, view)
        self.expecting = False

    def _deliver(self, param, view) -> None:
        with flambeau.no_grad():
            if self.as_views:
                if param.grad is not view:
                    param.grad = view
            elif param.grad is None:
                param.grad = view.clone()
            else:
                param.grad.copy_(view)

    def answer(self) -> None:
        """Take part in a backward pass of the others, for which this process has no gradients."""
        self._next = 0
        for bucket in self.buckets:
            bucket.flat.zero_()
            bucket.pending, bucket.started, bucket.work = 0, None, None
        self._start_ready()
        for bucket in self.buckets:
            (bucket.work or bucket.started).wait()
        self._used.clear()
        if self.find_unused:
            self._used_anywhere()

    def _used_anywhere(self) -> set[int]:
        marks = flambeau.tensor([id(p) in self._used for p in self.params], dtype=flambeau.int32)
        all_reduce(marks, group=self.group)
        return {id(p) for p, mark in zip(self.params, marks.tolist(), strict=True) if mark}


def parameters_reached(outputs: list) -> set[int]:
    """The ids of the leaves that a backward pass from these tensors reaches."""
    stack = [t.grad_fn for t in outputs if t.grad_fn is not None]
    reached = {id(t) for t in outputs if t.grad_fn is None}
    seen = set(stack)
    while stack:
        node = stack.pop()
        variable = getattr(node, "variable", None)
        if variable is not None:
            reached.add(id(variable))
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                stack.append(following)
    return reached
