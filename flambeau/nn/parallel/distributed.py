"""DistributedDataParallel: a module that several processes train, each on its share of the data."""

from __future__ import annotations

import contextlib
import copy

import flambeau
import flambeau.distributed as dist
from flambeau.distributed.algorithms.ddp_comm_hooks import BuiltinCommHookType, builtin_hook
from flambeau.distributed.algorithms.join import _DISABLED, Join, Joinable, JoinHook
from flambeau.distributed.reducer import Reducer
from flambeau.distributed.replicas import broadcast_tensors, check_same_shapes
from flambeau.utils._pytree import tree_leaves

from ..modules.module import Module

__all__ = ["DistributedDataParallel"]

_MB = 1024 * 1024
_FIRST_BUCKET = _MB


class _AnswersOthers(JoinHook):
    """See the note *Joining* in flambeau/distributed/algorithms/join.py."""

    def __init__(self, model: DistributedDataParallel, divide_by_initial_world_size: bool):
        self._model = model
        model._divides_by_all = divide_by_initial_world_size

    def main_hook(self) -> None:
        model = self._model
        model._share_buffers(has_inputs=False)
        syncs = model._anybody_syncs(False)
        model.require_forward_param_sync = syncs
        if syncs:
            model.reducer.answer()

    def post_hook(self, is_last_joiner: bool) -> None:
        model = self._model
        source = model._largest_rank(is_last_joiner)
        broadcast_tensors(model._state_to_share(), model.process_group, source)


class DistributedDataParallel(Module, Joinable):
    """A module whose gradients are averaged over the processes of a group during the backward pass.

    Every process makes one of the same module, runs it on its own part of each batch and calls ``backward()``; after that
    all have the same gradients, and so do the same step. Parameters and buffers are taken from process 0 at the start.
    Gradients travel in buckets, the first while the backward pass still computes the others.

    Args:
        module: the module; it becomes the attribute ``module``.
        device_ids, output_device: None: there are no devices to choose here.
        broadcast_buffers: give all processes the buffers of process 0 before each forward pass after one that was to be
            trained on. Default: True.
        init_sync: take parameters and buffers from process 0 at the start. Default: True.
        process_group: default: all processes.
        bucket_cap_mb: the size of a bucket. Default: 25.
        find_unused_parameters: look for parameters that a forward pass did not use, and do not wait for them.
        gradient_as_bucket_view: let gradients be views of the buckets, which saves a copy of them.
        static_graph: the same parameters are used in each pass; unused ones are allowed.
        device_mesh: in place of `process_group`, a mesh of one dimension.

    >>> import flambeau.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
    >>> model(flambeau.ones(3, 2)).sum().backward()
    >>> list(model.state_dict()), model.module.bias.grad
    (['module.weight', 'module.bias'], tensor([3.]))
    >>> dist.destroy_process_group()
    """

    def __init__(
        self,
        module,
        device_ids=None,
        output_device=None,
        dim=0,
        broadcast_buffers=None,
        init_sync=True,
        process_group=None,
        bucket_cap_mb=None,
        find_unused_parameters=False,
        check_reduction=False,
        gradient_as_bucket_view=False,
        static_graph=False,
        delay_all_reduce_named_params=None,
        param_to_hook_all_reduce=None,
        mixed_precision=None,
        device_mesh=None,
        skip_all_reduce_unused_params=False,
        bucket_cap_mb_list=None,
        batched_grad_copy=False,
        forward_sync_buffers=None,
    ):
        super().__init__()
        self._join_config, self._divides_by_all = _DISABLED, True
        if process_group is not None and device_mesh is not None:
            raise RuntimeError("Cannot specify both process_group and device_mesh arguments.")
        if device_mesh is not None:
            process_group = device_mesh.get_group(0)
        self.process_group = (
            dist.distributed_c10d._get_default_group() if process_group is None else process_group
        )
        for name, value in (
            ("mixed_precision", mixed_precision),
            ("delay_all_reduce_named_params", delay_all_reduce_named_params),
            ("param_to_hook_all_reduce", param_to_hook_all_reduce),
        ):
            if value is not None:
                raise NotImplementedError(f"DistributedDataParallel: {name} is not written")
        ignored = getattr(module, "_ddp_params_and_buffers_to_ignore", ())
        self.parameters_to_ignore = set(ignored)
        if device_ids or output_device is not None:
            devices = {p.device for p in module.parameters()}
            raise ValueError(
                "DistributedDataParallel device_ids and output_device arguments only work with single-device/"
                f"multiple-device GPU modules or CPU modules, but got device_ids {device_ids}, output_device "
                f"{output_device}, and module parameters {devices}."
            )
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                "DistributedDataParallel is not needed when a module doesn't have any parameter that requires a gradient."
            )
        for name, parameter in module.named_parameters():
            if isinstance(parameter, flambeau.nn.parameter.UninitializedParameter):
                raise RuntimeError(
                    f"Modules with uninitialized parameters can't be used with `DistributedDataParallel` ({name}). Run a "
                    "dummy forward pass to correctly initialize the modules"
                )
        self.module = module
        self.device_ids, self.output_device, self.dim = None, None, dim
        self.device = next(module.parameters()).device
        self.broadcast_buffers = True if broadcast_buffers is None else broadcast_buffers
        if forward_sync_buffers is not None:
            self.broadcast_buffers = forward_sync_buffers
        self.find_unused_parameters = find_unused_parameters
        self.gradient_as_bucket_view = gradient_as_bucket_view
        self.static_graph = static_graph
        self.require_backward_grad_sync = self.require_forward_param_sync = True
        caps = bucket_cap_mb_list or ([] if bucket_cap_mb is None else [bucket_cap_mb])
        self.bucket_bytes_cap = int((caps[-1] if caps else 25) * _MB)
        self._limits = [int(cap * _MB) for cap in caps] if caps else [_FIRST_BUCKET, self.bucket_bytes_cap]
        self._comm_hook = None
        if init_sync:
            check_same_shapes(self._named_trained(), self.process_group)
            broadcast_tensors(self._state_to_share(), self.process_group)
        self._make_reducer()

    def _named_trained(self) -> list:
        named = self.module.named_parameters()
        return [(name, p) for name, p in named if p.requires_grad and name not in self.parameters_to_ignore]

    def _state_to_share(self) -> list:
        named = [*self.module.named_parameters(), *self.module.named_buffers()]
        return [t.detach() for name, t in named if name not in self.parameters_to_ignore]

    def _make_reducer(self) -> None:
        find_unused = self.find_unused_parameters or self.static_graph
        self.reducer = Reducer(
            self._named_trained(), self.process_group, self._limits, find_unused, self.gradient_as_bucket_view
        )
        self.reducer.hook = self._comm_hook

    def __getstate__(self):
        state = copy.copy(self.__dict__)
        for name in ("process_group", "reducer"):
            del state[name]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.process_group = dist.distributed_c10d._get_default_group()
        self._make_reducer()

    @contextlib.contextmanager
    def no_sync(self):
        """Within this context, forward passes and their backward passes leave gradients to this process alone.

        They accumulate, and the first pass outside of it averages what has come together.
        """
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def forward(self, *inputs, **kwargs):
        """The module's result."""
        syncs = flambeau.is_grad_enabled() and self.require_backward_grad_sync
        if syncs:
            self.reducer.check_finished()
        active = Join.notify_join_context(self)
        self.reducer.divisor = self.process_group.size() if active is None or self._divides_by_all else active
        self._share_buffers()
        if self._join_config.enable:
            self._anybody_syncs(syncs)
        output = self.module(*inputs, **kwargs)
        # The buffers of processes part ways only while they train.
        self.require_forward_param_sync = syncs
        if syncs:
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, flambeau.Tensor)]
            self.reducer.prepare_for_backward([t for t in tensors if t.requires_grad])
        return output

    def _share_buffers(self, has_inputs: bool = True) -> None:
        if not (self.require_forward_param_sync and self.broadcast_buffers):
            return
        named = self.module.named_buffers()
        buffers = [b.detach() for name, b in named if name not in self.parameters_to_ignore]
        if buffers:
            # Process 0 may have run out of inputs, and its buffers be old.
            source = self._largest_rank(has_inputs) if self._join_config.enable else 0
            broadcast_tensors(buffers, self.process_group, source)

    # ---- uneven inputs

    def join(
        self,
        divide_by_initial_world_size: bool = True,
        enable: bool = True,
        throw_on_early_termination: bool = False,
    ):
        """A context within which processes may have different numbers of inputs.

        Those that are done answer the others' operations, and have the others' parameters in the end.

        Args:
            divide_by_initial_world_size: divide sums of gradients by the number of all processes, not by that of those
                which still have inputs. Default: True.
            enable: False to do nothing.
            throw_on_early_termination: raise an error in all processes as soon as one is done.
        """
        return Join(
            [self],
            enable,
            throw_on_early_termination,
            divide_by_initial_world_size=divide_by_initial_world_size,
        )

    def join_hook(self, **kwargs) -> JoinHook:
        """What this model does once this process is done."""
        return _AnswersOthers(self, kwargs.get("divide_by_initial_world_size", True))

    @property
    def join_device(self):
        return self.device

    @property
    def join_process_group(self):
        return self.process_group

    def _anybody_syncs(self, own: bool) -> bool:
        flag = flambeau.tensor([int(own)])
        dist.all_reduce(flag, dist.ReduceOp.MAX, self.process_group)
        return bool(flag.item())

    def _largest_rank(self, counts: bool) -> int:
        """The last process of the group that counts itself."""
        rank = flambeau.tensor([self.process_group.rank() if counts else -1])
        dist.all_reduce(rank, dist.ReduceOp.MAX, self.process_group)
        return int(rank.item())

    def register_comm_hook(self, state, hook) -> None:
        """Let ``hook(state, bucket)`` send gradients. It returns a future of the bucket's new flat tensor.

        What it is given has not been divided by the number of processes.
        """
        if not callable(hook):
            raise TypeError("Communication hook must be callable.")
        if self._comm_hook is not None:
            raise RuntimeError("register_comm_hook or register_builtin_comm_hook can only be called once.")
        self._comm_hook = self.reducer.hook = (state, hook)

    def _register_builtin_comm_hook(self, comm_hook_type: BuiltinCommHookType) -> None:
        self.register_comm_hook(self.process_group, builtin_hook(comm_hook_type))

    @staticmethod
    def _set_params_and_buffers_to_ignore_for_model(module, params_and_buffers_to_ignore) -> None:
        """Leave parameters and buffers, by their names, to each process alone. To be called before wrapping `module`."""
        module._ddp_params_and_buffers_to_ignore = params_and_buffers_to_ignore

    def _set_static_graph(self) -> None:
        self.static_graph = self.reducer.find_unused = True
