"""An optimizer whose state is spread over processes: each updates a part of the parameters, and sends them to the others."""

from __future__ import annotations

from flambeau import Tensor
from flambeau.optim import Optimizer

from .. import objects, operations, world

__all__ = ["ZeroRedundancyOptimizer"]


class ZeroRedundancyOptimizer(Optimizer):
    """Another optimizer, of which each process keeps the state for its own share of the parameters only.

    Gradients have to be the same in all processes, as `DistributedDataParallel` makes them.

    Args:
        params: parameters, or groups of them.
        optimizer_class: the class that does the updates, ``torch.optim.Adam`` say.
        process_group: default: all processes.
        parameters_as_bucket_view: accepted; parameters travel one by one.
        overlap_with_ddp: not written.
        **defaults: options of `optimizer_class`.

    >>> import flambeau.distributed as dist
    >>> from flambeau.distributed.optim import ZeroRedundancyOptimizer
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> layer = nn.Linear(2, 1)
    >>> step = ZeroRedundancyOptimizer(layer.parameters(), flambeau.optim.Adam, lr=0.1)
    >>> layer(flambeau.ones(1, 2)).sum().backward()
    >>> step.step()
    >>> step.consolidate_state_dict(to=0)
    >>> sorted(step.state_dict()["state"][0])
    ['exp_avg', 'exp_avg_sq', 'step']
    >>> dist.destroy_process_group()
    """

    def __init__(
        self,
        params,
        optimizer_class,
        process_group=None,
        parameters_as_bucket_view: bool = False,
        overlap_with_ddp: bool = False,
        **defaults,
    ):
        if overlap_with_ddp:
            raise NotImplementedError(
                "ZeroRedundancyOptimizer: overlap_with_ddp is not written; leave it False"
            )
        if optimizer_class is None:
            raise AssertionError("The local optimizer class has not been set")
        if isinstance(params, Tensor):
            raise TypeError("`params` argument should be an iterable of Tensors, but got a Tensor")
        params = list(params)
        if not params:
            raise ValueError("ZeroRedundancyOptimizer got an empty parameter list")
        if not all(isinstance(p, (Tensor, dict)) for p in params):
            raise TypeError("`params` argument should be an iterable of Tensors or dicts")
        self.process_group = world.resolve(process_group)
        self._loads = [0] * self.process_group.size()
        self._owner: dict[int, int] = {}  # rank in the group, by the parameter's id
        self._class, self._options, self._local = optimizer_class, defaults, None
        self._whole_state = None
        super().__init__(params, defaults)
        groups = [self._own_part(group) for group in self.param_groups]
        self._local = optimizer_class(groups, **defaults)
        self.defaults = self._local.defaults
        self._take_options()

    def _own_part(self, group: dict) -> dict:
        own = [p for p in group["params"] if self._owner[id(p)] == self.process_group.rank()]
        return {**group, "params": own}

    def add_param_group(self, param_group: dict) -> None:
        """Add a group of parameters, and share them out."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        # Large ones first, each to the process that has least: all processes come to the same shares.
        for p in sorted(group["params"], key=lambda p: p.numel(), reverse=True):
            least = self._loads.index(min(self._loads))
            self._owner[id(p)] = least
            self._loads[least] += p.numel()
        if self._local is not None:
            self._local.add_param_group(self._own_part(group))
            self._take_options()

    def _take_options(self) -> None:
        for group, local in zip(self.param_groups, self._local.param_groups, strict=True):
            group.update({name: value for name, value in local.items() if name != "params"})

    def _give_options(self) -> None:
        # Schedulers change the options of the groups that users see.
        for group, local in zip(self.param_groups, self._local.param_groups, strict=True):
            local.update({name: value for name, value in group.items() if name != "params"})

    def step(self, closure=None, **kwargs):
        """Update this process's parameters, and get the others' from their processes.

        Args:
            closure: computes the loss anew and returns it; for optimizers that need it.
        """
        self._give_options()
        loss = self._local.step(closure, **kwargs) if closure is not None else self._local.step(**kwargs)
        self._take_options()
        works = [
            operations.broadcast(
                p.detach(), group=self.process_group, group_src=self._owner[id(p)], async_op=True
            )
            for group in self.param_groups
            for p in group["params"]
        ]
        for work in works:
            work.wait()
        return loss

    def _indices(self) -> dict[int, int]:
        every = [p for group in self.param_groups for p in group["params"]]
        return {id(p): i for i, p in enumerate(every)}

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Collect the state of all processes in process `to` of the group, for `state_dict`. All processes call this."""
        index = self._indices()
        own = {index[id(p)]: state for p, state in self._local.state.items()}
        rank, size = self.process_group.rank(), self.process_group.size()
        every = [None] * size if rank == to else None
        objects.gather_object(own, every, group=self.process_group, group_dst=to)
        self._whole_state = None
        if every is not None:
            self._whole_state = {i: state for part in every for i, state in part.items()}

    def state_dict(self) -> dict:
        """The whole optimizer's state, as `optimizer_class` would give it. `consolidate_state_dict` comes first.

        Raises:
            RuntimeError: the state has not been collected in this process.
        """
        if self._whole_state is None:
            raise RuntimeError(
                "Optimizer state has not been consolidated on this rank. Please call "
                f"`consolidate_state_dict(to={self.process_group.rank()})` on all ranks beforehand if you meant to save the "
                "global state."
            )
        index = self._indices()
        groups = [{**group, "params": [index[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": dict(sorted(self._whole_state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: dict) -> None:
        """Take the state of a whole optimizer; each process keeps its share. All processes load the same."""
        index = self._indices()
        sizes = [len(group["params"]) for group in self.param_groups]
        found = [len(group["params"]) for group in state_dict["param_groups"]]
        if sizes != found:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                f"{found} parameters for {sizes}"
            )
        theirs = [i for group in state_dict["param_groups"] for i in group["params"]]
        state, groups, count = {}, [], 0
        for group, local in zip(state_dict["param_groups"], self._local.param_groups, strict=True):
            numbers = []
            for p in local["params"]:
                number = theirs[index[id(p)]]
                if number in state_dict["state"]:
                    state[count] = state_dict["state"][number]
                numbers.append(count)
                count += 1
            groups.append({**group, "params": numbers})
        self._local.load_state_dict({"state": state, "param_groups": groups})
        self._take_options()
