"""The suite of modules: every entry of PyTorch's module database, in training and in evaluation mode, in float32.

For each of an entry's inputs: the same weights bit for bit under the same seed, the same parameters, buffers and text;
state dictionaries that load across both ways; the same results, the same gradients of inputs and parameters, the same
buffers afterwards; copies by `deepcopy` and `pickle` that hold the same.
"""

import contextlib
import copy
import functools
import pickle
import re
from collections.abc import Callable, Iterator

import torch
from torch.testing._internal.common_modules import ModuleErrorEnum, ModuleInfo, ModuleInput, module_db

from . import left_out
from .check import Different, call, compare, leaves, require, same_kind, shorten, tolerances
from .convert import Missing, Untranslatable, lookup, peer, to_peer, to_torch_tensor

DTYPE = torch.float32
SEED = 4321
MODES = {"train": True, "eval": False}


@functools.cache
def database() -> dict[str, ModuleInfo]:
    return {info.name: info for info in module_db}


def reason(name: str) -> str | None:
    return left_out.MODULES.get(name)


def entries() -> dict[str, list[str]]:
    errors = {name: info.module_error_inputs_func is not None for name, info in database().items()}
    return {name: [*MODES, *(["errors"] if has_errors else [])] for name, has_errors in errors.items()}


def check(name: str, part: str) -> tuple[str, str]:
    if why := reason(name):
        return "LEFT-OUT", why
    try:
        entry = Entry(database()[name])
        entry.check_errors() if part == "errors" else entry.check(MODES[part])
    except Missing as missing:
        return "MISSING", str(missing)
    except Untranslatable as untranslatable:
        return "LEFT-OUT", f"cannot be compared: {untranslatable}"
    except Different as different:
        return "FAIL", str(different)
    return "PASS", ""


# --- modules as arguments of modules ------------------------------------------------------------------------


@contextlib.contextmanager
def constructors_recorded() -> Iterator[None]:
    """Inside, every module of `torch.nn` remembers what it was made with, so that the peer's can be made alike."""
    classes = [value for value in vars(torch.nn).values() if isinstance(value, type)]
    classes = [cls for cls in classes if issubclass(cls, torch.nn.Module) and "__init__" in vars(cls)]
    originals = {cls: cls.__init__ for cls in classes}

    def recording(original: Callable) -> Callable:
        @functools.wraps(original)
        def init(self: torch.nn.Module, *args: object, **kwargs: object) -> None:
            record = self.__dict__.setdefault("_made_with", (args, kwargs))
            original(self, *args, **kwargs)
            self.__dict__["_made_with"] = record

        return init

    for cls, original in originals.items():
        cls.__init__ = recording(original)
    try:
        yield
    finally:
        for cls, original in originals.items():
            cls.__init__ = original


def module_to_peer(module: torch.nn.Module) -> object:
    args, kwargs = module.__dict__["_made_with"]
    theirs = lookup(f"nn.{type(module).__name__}")(*convert(args), **convert(kwargs))
    theirs.load_state_dict(to_peer(dict(module.state_dict())))
    return theirs.train(module.training)


def convert(value: object, memo: dict | None = None) -> object:
    """`to_peer`, for what modules take besides: modules and packed sequences."""
    memo = {} if memo is None else memo
    if isinstance(value, torch.nn.Module):
        return module_to_peer(value)
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return lookup("nn.utils.rnn.PackedSequence")(*(to_peer(part, memo) for part in value))
    if isinstance(value, list | tuple) and not hasattr(value, "_fields") and type(value) in (list, tuple):
        return type(value)(convert(item, memo) for item in value)
    if isinstance(value, dict):
        return {key: convert(item, memo) for key, item in value.items()}
    return to_peer(value, memo)


def without_records(value: object) -> object:
    """A module as its users have it: the record must not show in copies."""
    for leaf in value if isinstance(value, list | tuple) else (value,):
        if isinstance(leaf, torch.nn.Module):
            for part in leaf.modules():
                part.__dict__.pop("_made_with", None)
    return value


# --- one entry ----------------------------------------------------------------------------------------------


def state(module: object) -> dict:
    return dict(module.state_dict())


def is_lazy(value: object, library: object) -> bool:
    return isinstance(value, library.nn.parameter.UninitializedTensorMixin)


def require_same_bits(expected: dict, actual: dict, what: str) -> None:
    require(list(expected) == list(actual), f"{what}: the names {list(actual)} for {list(expected)}")
    for name, one in expected.items():
        two = actual[name]
        if is_lazy(one, torch):
            require(is_lazy(two, peer), f"{what}: {name} must wait for the first input")
            continue
        require(str(one.dtype) == str(two.dtype), f"{what}: {name} is {two.dtype} for {one.dtype}")
        shape = tuple(one.shape)
        require(shape == tuple(two.shape), f"{what}: {name} has shape {tuple(two.shape)} for {shape}")
        difference = one.detach() != to_torch_tensor(two)
        require(not difference.any(), f"{what}: {name} differs in {int(difference.sum())} of {one.numel()}")


class Entry:
    """An entry of the database with both libraries' classes for it."""

    def __init__(self, info: ModuleInfo) -> None:
        self.info = info
        self.cls = info.module_cls
        self.peer_cls = lookup(f"nn.{info.module_cls.__name__}")
        self.close = tolerances(info.decorators, DTYPE)

    def inputs(self, training: bool, function: Callable) -> list:
        torch.manual_seed(SEED)
        with constructors_recorded():
            return list(function(self.info, "cpu", DTYPE, True, training))

    def check(self, training: bool) -> None:
        for index, sample in enumerate(self.inputs(training, self.info.module_inputs_func)):
            arguments = sample.constructor_input
            made = [*map(str, arguments.args), *(f"{k}={v}" for k, v in arguments.kwargs.items())]
            what = (
                f"input {index} ({shorten(', '.join(made), 120)}{' ' + sample.desc if sample.desc else ''})"
            )
            try:
                self._check_input(sample, training)
            except (Different, Missing) as problem:
                raise type(problem)(f"{what}: {problem}") from None
            except Untranslatable:
                raise
            except Exception as error:
                if isinstance(error, AttributeError) and getattr(error.obj, "__name__", "").startswith(
                    peer.__name__
                ):
                    raise Missing(f"{error.obj.__name__}.{error.name} does not exist") from None
                raise Different(f"{what}: {type(error).__name__}: {shorten(error)}") from None

    def _make(self, sample: ModuleInput) -> tuple[torch.nn.Module, object]:
        arguments = sample.constructor_input
        theirs = convert((arguments.args, arguments.kwargs))
        without_records(arguments.args)
        ours = call(torch, self.cls, *arguments.args, **arguments.kwargs)
        theirs = call(peer, self.peer_cls, *theirs[0], **theirs[1])
        return ours.to(DTYPE), theirs.to(to_peer(DTYPE))  # some of the database's buffers are double

    def _check_input(self, sample: ModuleInput, training: bool) -> None:
        ours, theirs = self._make(sample)
        self._same_module(ours, theirs, "made")
        ours.train(training)
        require(theirs.train(training) is theirs, "train() must return the module")
        if not self.info.is_lazy:
            self._loads_across(sample, ours, theirs)
        self._same_step(sample, ours, theirs)
        self._same_module(ours, theirs, "after its first call")
        for how, copied in (
            ("deepcopy", copy.deepcopy(theirs)),
            ("pickle", pickle.loads(pickle.dumps(theirs))),
        ):
            require(copied.training == theirs.training, f"{how}: training changed")
            self._same_module(ours, copied, f"its copy by {how}", buffers_close=True)

    def _same_module(
        self, ours: torch.nn.Module, theirs: object, when: str, buffers_close: bool = False
    ) -> None:
        require(repr(ours) == repr(theirs), f"{when}: shown as {theirs!r} for {ours!r}")
        parameters = dict(ours.named_parameters()), dict(theirs.named_parameters())
        require_same_bits(*parameters, f"parameters of the module {when}")
        for name, parameter in parameters[0].items():
            require(parameter.requires_grad == parameters[1][name].requires_grad, f"{name}.requires_grad")
        buffers = dict(ours.named_buffers()), dict(theirs.named_buffers())
        if when == "made":
            require_same_bits(*buffers, "buffers of the module made")
        else:
            compare(*buffers, self.close, f"buffers of the module {when}")
        keys = list(ours.state_dict()), list(theirs.state_dict())
        require(keys[0] == keys[1], f"state_dict {when}: {keys[1]} for {keys[0]}")
        names = [[name for name, _ in module.named_modules()] for module in (ours, theirs)]
        require(names[0] == names[1], f"submodules {when}: {names[1]} for {names[0]}")

    def _loads_across(self, sample: ModuleInput, ours: torch.nn.Module, theirs: object) -> None:
        """Each library's weights, made under another seed, into the other's module."""
        arguments = sample.constructor_input
        torch.manual_seed(SEED + 1)
        other = self.cls(*arguments.args, **arguments.kwargs).to(DTYPE)
        answer = theirs.load_state_dict(to_peer(state(other)))
        require(not answer.missing_keys and not answer.unexpected_keys, f"PyTorch's state_dict: {answer}")
        require_same_bits(state(other), state(theirs), "PyTorch's state_dict loaded")
        answer = ours.load_state_dict({name: to_torch_tensor(value) for name, value in state(theirs).items()})
        require(
            not answer.missing_keys and not answer.unexpected_keys, f"the state_dict in PyTorch: {answer}"
        )

    def _same_step(self, sample: ModuleInput, ours: torch.nn.Module, theirs: object) -> None:
        """Forward and backward in both, from the same inputs, seed and cotangents."""
        arguments = (sample.forward_input.args, sample.forward_input.kwargs)
        their_args, their_kwargs = convert(arguments, {})
        wanted = [leaf for leaf in tensors_of(arguments) if leaf.requires_grad]
        their_wanted = [leaf for leaf in tensors_of((their_args, their_kwargs)) if leaf.requires_grad]
        expected = call(torch, ours, *arguments[0], **arguments[1])
        actual = call(peer, theirs, *their_args, **their_kwargs)
        if isinstance(expected, torch.nn.utils.rnn.PackedSequence) or (
            isinstance(expected, tuple) and isinstance(expected[0], torch.nn.utils.rnn.PackedSequence)
        ):
            names = [type(part).__name__ for part in (expected[0], actual[0])]
            require(names[0] == names[1], f"result: a {names[1]} for a {names[0]}")
        compare(expected, actual, self.close, "result", precise=self._precise(sample, ours))
        outputs = [leaf for leaf in tensors_of(expected) if leaf.requires_grad]
        their_outputs = [leaf for leaf in tensors_of(actual) if leaf.requires_grad]
        require(
            len(outputs) == len(their_outputs),
            f"{len(their_outputs)} results with gradient for {len(outputs)}",
        )
        parameters = list(ours.parameters()), list(theirs.parameters())
        if not outputs or not (wanted or parameters[0]):
            return
        generator = torch.Generator().manual_seed(SEED)
        cotangents = [torch.randn(tuple(output.shape), generator=generator) for output in outputs]
        precise = self._precise_gradients(sample, ours, cotangents)
        grads = torch.autograd.grad(outputs, [*wanted, *parameters[0]], cotangents, allow_unused=True)
        their_grads = peer.autograd.grad(
            their_outputs, [*their_wanted, *parameters[1]], to_peer(cotangents), allow_unused=True
        )
        names = [f"input {i}" for i in range(len(wanted))] + [name for name, _ in ours.named_parameters()]
        for index, (name, one, two) in enumerate(zip(names, grads, their_grads, strict=True)):
            if one is None or two is None:  # "no gradient" and a gradient of zeros say the same
                nonzero = any(bool((gradient != 0).any()) for gradient in (one, two) if gradient is not None)
                require(not nonzero, f"{'no' if two is None else 'a'} gradient of {name}")
            else:
                self._compare_gradient(one, two, name, functools.partial(precise, index, 0))

    def _compare_gradient(self, one: torch.Tensor, two: object, name: str, precise: Callable) -> None:
        try:
            compare(one, two, self.close, f"gradient of {name}")
        except Different:
            alike = tuple(one.shape) == tuple(two.shape) and str(one.dtype) == str(two.dtype)
            if not alike or not no_worse(precise(), one, to_torch_tensor(two), self.close(DTYPE)):
                raise

    def _in_double(self, sample: ModuleInput, ours: torch.nn.Module) -> tuple:
        """The module, its arguments and its result in double precision."""

        def widen(value: torch.Tensor) -> torch.Tensor:
            wide = value.detach().double() if value.is_floating_point() else value
            return wide.requires_grad_(value.requires_grad)

        values = sample.forward_input.args, sample.forward_input.kwargs
        args, kwargs = torch.utils._pytree.tree_map_only(torch.Tensor, widen, values)
        module = copy.deepcopy(ours).double()
        return module, (args, kwargs), call(torch, module, *args, **kwargs)

    def _precise(self, sample: ModuleInput, ours: torch.nn.Module) -> Callable:
        """A function that gives one leaf of the result in double precision."""

        def leaf(place: int) -> torch.Tensor | None:
            value = list(leaves(self._in_double(sample, ours)[2]))[place][1]
            return value.detach() if isinstance(value, torch.Tensor) else None

        return leaf

    def _precise_gradients(self, sample: ModuleInput, ours: torch.nn.Module, cotangents: list) -> Callable:
        """A function that gives the gradient with a number in double precision, for the same cotangents."""
        copied = copy.deepcopy(ours)  # as it is before its gradients, and with the state after its call

        def gradient(index: int, place: int) -> torch.Tensor | None:
            module, arguments, result = self._in_double(sample, copied)
            leaves = [*tensors_of(arguments), *module.parameters()]
            outputs = [leaf for leaf in tensors_of(result) if leaf.requires_grad]
            wide = [cotangent.double() for cotangent in cotangents]
            wanted = [leaf for leaf in leaves if leaf.requires_grad or isinstance(leaf, torch.nn.Parameter)]
            return torch.autograd.grad(outputs, wanted, wide, allow_unused=True)[index]

        return gradient

    # --- errors -------------------------------------------------------------------------------------------------

    def check_errors(self) -> None:
        for index, case in enumerate(self.inputs(True, self.info.module_error_inputs_func)):
            sample = case.module_error_input
            given = [(sample.constructor_input.args, sample.constructor_input.kwargs)]
            if case.error_on == ModuleErrorEnum.FORWARD_ERROR:
                given.append((sample.forward_input.args, sample.forward_input.kwargs))
            theirs = convert(given, {})
            if not isinstance(raised(torch, self.cls, given), case.error_type):
                continue  # PyTorch accepts it here
            error, wanted = raised(peer, self.peer_cls, theirs), case.error_type
            require(error is not None, f"error input {index}: no error, PyTorch raises {wanted.__name__}")
            good = same_kind(error, wanted) and re.search(case.error_regex, str(error))
            text = f"{type(error).__name__}: {shorten(error)} for {wanted.__name__}: {case.error_regex!r}"
            require(bool(good), f"error input {index}: {text}")


def raised(library: object, cls: type, given: list) -> Exception | None:
    """What making a module raises, or calling it, if there are arguments for that as well."""
    try:
        module = call(library, cls, *given[0][0], **given[0][1])
        for args, kwargs in given[1:]:
            module(*args, **kwargs)
    except Exception as error:
        return error
    return None


def no_worse(truth: torch.Tensor, expected: torch.Tensor, actual: torch.Tensor, tolerance: tuple) -> bool:
    """Whether the values are as near to the truth, beyond the tolerance, as a few times PyTorch's worst one of the tensor.

    Gradients are long sums: their roundings are as large as the terms, whatever is left of the sum, and grow in every
    layer on the way. Two orders of summation differ by a small factor.
    """
    worst = (expected.double() - truth).abs().max()
    near = 4 * worst + tolerance[1] + tolerance[0] * truth.abs()
    return bool(((actual.double() - truth).abs() <= near).all())


def tensors_of(value: object) -> list:
    return [leaf for _, leaf in leaves(value) if isinstance(leaf, torch.Tensor | peer.Tensor)]
