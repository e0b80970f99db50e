"""The suite of optimizers: PyTorch's optimizer database. Both libraries walk the same path, step by step.

Parts of an entry: `loop`, `foreach`, `fused` and `differentiable` (the implementation asked for; every input of the
database, with options, parameters and state compared after each of ten steps, and for `differentiable` the gradients
through the steps), `float64`, `complex`, `groups` (two groups, options of their own), `sparse` (sparse gradients), `state`
(dictionaries that load across both ways and go on alike), `schedulers` (the database's own, with theirs), `options` and
`errors`.
"""

import functools
import inspect
import re
import warnings
from collections.abc import Callable, Iterator

import torch
from torch.testing._internal.common_optimizers import (
    OptimizerErrorEnum,
    OptimizerInfo,
    OptimizerInput,
    optim_db,
)

from . import left_out
from .check import Different, compare, leaves, require, same_kind, shorten, tolerances
from .convert import Missing, function_for_peer, lookup, peer, to_peer, to_torch_tensor

STEPS = 10
SEED = 99


@functools.cache
def database() -> dict[str, OptimizerInfo]:
    return {info.optim_cls.__name__: info for info in optim_db}


def reason(name: str) -> str | None:
    return left_out.OPTIMIZERS.get(name)


def entries() -> dict[str, list[str]]:
    found = {}
    for name, info in database().items():
        parts = ["loop", *info.supported_impls, "float64", "state", "schedulers", "options"]
        parts += ["complex"] if info.supports_complex else []
        parts += ["groups"] if info.supports_param_groups else []
        parts += ["sparse"] if info.supports_sparse else []
        found[name] = [*parts, "errors"]
    return found


def check(name: str, part: str) -> tuple[str, str]:
    if why := reason(name):
        return "LEFT-OUT", why
    try:
        Entry(database()[name]).check(part)
    except Missing as missing:
        return "MISSING", str(missing)
    except Different as different:
        return "FAIL", str(different)
    return "PASS", ""


def from_peer(value: object) -> object:
    """`value` with the peer's tensors replaced by PyTorch's."""
    if isinstance(value, peer.Tensor):
        return to_torch_tensor(value)
    if isinstance(value, dict):
        return {key: from_peer(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(from_peer(item) for item in value)
    return value


class Problem:
    """Parameters of one library, and a loss of them that every optimizer makes progress on."""

    SHAPES = ((10, 5), (10,))
    MATRICES = ((10, 5), (10, 4))  # for optimizers of matrices only

    def __init__(
        self, library: object, dtype: torch.dtype, matrices: bool, leaf: bool = True, sparse: bool = False
    ) -> None:
        self.sparse, self.steps = sparse, 0
        generator = torch.Generator().manual_seed(SEED)
        shapes = self.MATRICES if matrices else self.SHAPES
        make = lambda shape: torch.randn(shape, dtype=dtype, generator=generator)  # noqa: E731
        values = [make(shape) for shape in shapes], make((5,)), [make(shape) for shape in shapes]
        starts, data, self.cotangents = values if library is torch else to_peer(values)
        self.tensors = library
        self.data = data
        # Directions of unequal slope: no method is there at one stroke, and from then on compares noise.
        self.scale = library.linspace(0.3, 1.7, 10)
        self.starts = [start.requires_grad_() for start in starts]
        if leaf and library is torch:
            self.params = [torch.nn.Parameter(start.detach()) for start in self.starts]
        elif leaf:
            self.params = [library.nn.Parameter(start.detach()) for start in self.starts]
        else:  # parameters that are results, for differentiable steps
            self.params = [start.clone() for start in self.starts]

    def loss(self) -> object:
        weight, bias = self.params
        residual = (weight @ self.data + (bias if bias.dim() == 1 else bias.sum(1))) * self.scale
        square = (residual * residual.conj()).real if residual.is_complex() else residual * residual
        return (square + square.log1p()).sum()

    def closure(self) -> object:
        for param in self.params:
            param.grad = None
        loss = self.loss()
        loss.backward()
        if self.sparse:
            self._keep_some_rows()
        return loss

    def _keep_some_rows(self) -> None:
        """Sparse gradients, of other rows at every step."""
        self.steps += 1
        rows = self.tensors.arange(10)
        for param in self.params:
            kept = ((rows + self.steps) % 3 > 0).to(param.dtype).reshape(10, *[1] * (param.dim() - 1))
            param.grad = (param.grad * kept).to_sparse()


class Entry:
    """An entry of the database with both libraries' classes for it."""

    def __init__(self, info: OptimizerInfo) -> None:
        self.info = info
        self.name = info.optim_cls.__name__
        self.cls = info.optim_cls
        self.peer_cls = lookup(f"optim.{self.name}")
        self.matrices = self.name == "Muon"
        self.sparse = info.only_supports_sparse_grads

    def check(self, part: str) -> None:
        if part in ("loop", "foreach", "fused"):
            self._each_input(lambda kwargs: self._path(kwargs, torch.float32), part)
        elif part == "float64":
            self._each_input(lambda kwargs: self._path(kwargs, torch.float64), "loop")
        elif part == "complex":
            self._each_input(lambda kwargs: self._path(kwargs, torch.complex64), "loop")
        elif part == "sparse":
            self.sparse = True
            for kwargs in self._for_sparse():
                self._path(kwargs, torch.float32)
        elif part == "groups":
            self._each_input(self._groups, "loop")
        else:
            {
                "differentiable": lambda: self._each_input(self._differentiable, part),
                "state": lambda: self._each_input(self._state, "loop"),
                "schedulers": self._schedulers,
                "options": self._options,
                "errors": self._errors,
            }[part]()

    def _each_input(self, run: Callable, implementation: str) -> None:
        compared = 0
        for index, sample in enumerate(self.info.optim_inputs_func("cpu")):
            kwargs = left_out.OPTIMIZER_OPTIONS.get(self.name, {}) | sample.kwargs
            for flag in self.info.supported_impls:
                kwargs[flag] = flag == implementation
            what = f"input {index} ({sample.desc}: {', '.join(f'{k}={v}' for k, v in kwargs.items())})"
            if not self._accepted(kwargs):
                continue
            compared += 1
            try:
                run(kwargs)
            except (Different, Missing) as problem:
                raise type(problem)(f"{what}: {problem}") from None
            except Exception as error:
                raise Different(f"{what}: {type(error).__name__}: {shorten(error)}") from None
        require(compared > 0, "PyTorch accepts no input")

    def _for_sparse(self) -> Iterator[dict]:
        kwargs = self.info.metadata_for_sparse[0]
        yield kwargs
        yield kwargs | {"maximize": True}
        if "momentum" in kwargs:
            yield kwargs | {"momentum": 0.9, "dampening": 0.3}
            yield kwargs | {"momentum": 0.9, "nesterov": True}

    def _accepted(self, kwargs: dict) -> bool:
        """Whether PyTorch itself takes these options on this machine."""
        try:
            self.cls([torch.nn.Parameter(torch.zeros(2, 2))], **kwargs)
        except (RuntimeError, ValueError):
            return False
        return True

    def _pair(self, kwargs: dict, dtype: torch.dtype) -> tuple:
        problems = [Problem(library, dtype, self.matrices, sparse=self.sparse) for library in (torch, peer)]
        ours = self.cls(problems[0].params, **kwargs)
        theirs = self.peer_cls(problems[1].params, **to_peer(kwargs))
        return problems, ours, theirs

    def _close(self, dtype: torch.dtype) -> Callable:
        rtol, atol = left_out.OPTIMIZER_TOLERANCES.get((self.name, str(dtype)), (0, 0))
        standard = tolerances((), dtype)
        return lambda of: tuple(map(max, standard(of), (rtol, atol)))

    def _walk(self, problems: tuple, ours: object, theirs: object, steps: int, dtype: torch.dtype) -> None:
        close = self._close(dtype)
        for step in range(steps):
            losses = ours.step(problems[0].closure), theirs.step(problems[1].closure)
            compare(*losses, close, f"loss of step {step}")
            compare(problems[0].params, problems[1].params, close, f"parameters after step {step}")
        same_state(ours, theirs, close)

    def _path(self, kwargs: dict, dtype: torch.dtype) -> None:
        problems, ours, theirs = self._pair(kwargs, dtype)
        require(repr(ours) == repr(theirs), f"shown as {theirs!r} for {ours!r}")
        self._walk(problems, ours, theirs, STEPS, dtype)

    def _groups(self, kwargs: dict) -> None:
        problems = [
            Problem(library, torch.float32, self.matrices, sparse=self.sparse) for library in (torch, peer)
        ]
        groups = [[{"params": p.params[:1]}, {"params": p.params[1:], "lr": 0.003}] for p in problems]
        ours = self.cls(groups[0], **kwargs)
        theirs = self.peer_cls(groups[1], **to_peer(kwargs))
        require(repr(ours) == repr(theirs), f"shown as {theirs!r} for {ours!r}")
        self._walk(problems, ours, theirs, 4, torch.float32)

    def _state(self, kwargs: dict) -> None:
        dtype = torch.float32
        problems, ours, theirs = self._pair(kwargs, dtype)
        self._walk(problems, ours, theirs, 3, dtype)
        for take_theirs in (False, True):
            before = ours.state_dict(), theirs.state_dict()
            new_problems, ours, theirs = self._pair(kwargs, dtype)
            for new, old in zip(new_problems, problems, strict=True):
                with new.tensors.no_grad():
                    for to, source in zip(new.params, old.params, strict=True):
                        to.copy_(source)
            ours.load_state_dict(from_peer(before[1]) if take_theirs else before[0])
            theirs.load_state_dict(before[1] if take_theirs else to_peer(before[0]))
            problems = new_problems
            self._walk(problems, ours, theirs, 3, dtype)

    def _differentiable(self, kwargs: dict) -> None:
        for steps in (2, 1):
            try:
                expected = self._through_steps(torch, self.cls, kwargs, steps)
            except RuntimeError:  # PyTorch's own step overwrites what the graph of an earlier one needs
                continue
            actual = self._through_steps(peer, self.peer_cls, to_peer(kwargs), steps)
            close = self._close(torch.float64)
            compare(expected[0], actual[0], close, "parameters")
            compare(expected[1], actual[1], close, "gradients through the steps")
            return

    def _through_steps(self, library: object, cls: type, kwargs: dict, steps: int) -> tuple[list, list]:
        """Parameters after some steps, and the gradients of a sum over them by the first parameters and the slopes."""
        problem = Problem(library, torch.float64, self.matrices, leaf=False)
        optimizer = cls(problem.params, **kwargs)
        slopes = []
        for step in range(steps):
            for param, slope in zip(problem.params, problem.cotangents, strict=True):
                param.grad = (slope * (step + 1)).requires_grad_()
                slopes.append(param.grad)
            optimizer.step()
        total = sum((param * param).sum() for param in problem.params)
        inputs = [*problem.starts, *slopes]
        grads = library.autograd.grad(total, inputs, allow_unused=True)
        return problem.params, [
            library.zeros_like(i) if g is None else g for i, g in zip(inputs, grads, strict=True)
        ]

    def _schedulers(self) -> None:
        for index, makers in enumerate(self.info.scheduler_inputs):
            problems, ours, theirs = self._pair({}, torch.float32)
            schedulers = [make(ours) for make in makers], [function_for_peer(make)(theirs) for make in makers]
            close = self._close(torch.float32)
            for step in range(STEPS):
                losses = ours.step(problems[0].closure), theirs.step(problems[1].closure)
                for library_schedulers, loss in zip(schedulers, losses, strict=True):
                    for scheduler in library_schedulers:
                        plateau = type(scheduler).__name__ == "ReduceLROnPlateau"
                        scheduler.step(loss.item()) if plateau else scheduler.step()
                rates = [[float(group["lr"]) for group in o.param_groups] for o in (ours, theirs)]
                require(rates[0] == rates[1], f"schedulers {index}: rates {rates[1]} for {rates[0]}")
                compare(problems[0].params, problems[1].params, close, f"parameters after step {step}")
            for one, two in zip(*schedulers, strict=True):
                states = plain(one.state_dict()), plain(two.state_dict())
                compare(*states, close, f"state of {type(one).__name__}")
                two.load_state_dict(one.state_dict())

    def _options(self) -> None:
        """The constructor's arguments and their defaults; every switch turned on, as far as PyTorch allows."""
        signatures = [inspect.signature(cls.__init__).parameters for cls in (self.cls, self.peer_cls)]
        described = [
            [(p.name, p.kind, repr(p.default)) for p in signature.values()] for signature in signatures
        ]
        require(described[0] == described[1], f"arguments {described[1]} for {described[0]}")
        for switch, parameter in signatures[0].items():
            if not (isinstance(parameter.default, bool) or parameter.default is None):
                continue
            for value in (False, True):
                if isinstance(self._made(self.cls, torch, {switch: value}), Exception):
                    continue
                made = self._made(self.peer_cls, peer, {switch: value})
                require(not isinstance(made, Exception), f"{switch}={value}: {made!r}")
                reference = self._made(self.cls, torch, {switch: value})
                require(repr(reference) == repr(made), f"{switch}={value}: {made!r} for {reference!r}")

    def _made(self, cls: type, library: object, kwargs: dict) -> object:
        try:
            return cls([library.nn.Parameter(library.zeros(2, 2))], **kwargs)
        except Exception as error:
            return error

    def _errors(self) -> None:
        for index, case in enumerate(self.info.optim_error_inputs_func("cpu", torch.float32)):
            sample = case.optimizer_error_input
            if sample.params is None:
                params = [torch.nn.Parameter(torch.randn(2, 3))]
                sample = OptimizerInput(params=params, kwargs=sample.kwargs, desc=sample.desc)
            memo: dict = {}
            try:
                theirs = to_peer(sample.params, memo), to_peer(sample.kwargs, memo)
            except Exception:  # a sparse tensor, say: this case cannot be put to the peer
                continue
            for tensor in tensors_of(sample.params):
                if tensor.grad is not None:
                    memo[id(tensor)][0].grad = to_peer(tensor.grad, memo)
            step = case.error_on == OptimizerErrorEnum.STEP_ERROR
            if not isinstance(raised(self.cls, sample.params, sample.kwargs, step), case.error_type):
                continue
            error, wanted = raised(self.peer_cls, *theirs, step), case.error_type
            what = f"error input {index} ({sample.desc})"
            require(error is not None, f"{what}: no error, PyTorch raises {wanted.__name__}")
            good = same_kind(error, wanted) and re.search(case.error_regex, str(error))
            text = f"{type(error).__name__}: {shorten(error)} for {wanted.__name__}: {case.error_regex!r}"
            require(bool(good), f"{what}: {text}")


def raised(cls: type, params: object, kwargs: dict, step: bool) -> BaseException | None:
    """What making the optimizer raises or warns of, or its step."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            optimizer = cls(params, **kwargs)
            if step:
                optimizer.step()
        except (Exception, UserWarning) as error:
            return error
    return None


def plain(state: dict) -> dict:
    return dict(sorted((key, value) for key, value in state.items() if not callable(value)))


def same_state(ours: object, theirs: object, close: Callable) -> None:
    """Both state dictionaries: the same keys, kinds of values, and values."""
    one, two = ours.state_dict(), theirs.state_dict()
    require(list(one) == list(two), f"state_dict: {list(two)} for {list(one)}")
    require(list(one["state"]) == list(two["state"]), "state_dict: the parameters with state differ")
    for key, values in one["state"].items():
        names = list(values), list(two["state"][key])
        require(names[0] == names[1], f"state of parameter {key}: {names[1]} for {names[0]}")
        compare(values, two["state"][key], close, f"state of parameter {key}")
    for group, other in zip(one["param_groups"], two["param_groups"], strict=True):
        require(list(group) == list(other), f"options of a group: {list(other)} for {list(group)}")
        compare(group, other, close, "options of a group")


def tensors_of(value: object) -> Iterator:
    return (leaf for _, leaf in leaves(value) if isinstance(leaf, torch.Tensor))
