"""What is compared for one operator and one dtype.

Forward: values, dtype, shape, and for views strides, offset and shared memory; the input must stay unchanged.
Variants: method, in-place method, aliases. `out=`: right shape, to be resized, strided, and of a dtype that can't hold
the result. Gradients of every input, through the function and the in-place method. Errors: type and message.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch.testing._internal.common_device_type import toleranceOverride
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import DecorateInfo, OpInfo, SampleInput

from . import left_out
from .convert import Missing, Untranslatable, function_for_peer, lookup, peer, to_peer, to_torch_tensor

ERRORS = "errors"  # stands where a dtype stands, for the operator's error inputs
GRADIENT_DTYPES = {torch.float32: 4, torch.float64: 12, torch.complex128: 6}  # with how many samples
MOST_SAMPLES = {torch.float32: 40}
OTHER_SAMPLES = 8
GENERATED = 250  # of an operator's samples at most so many are made, to choose from
SEED = 1234


def _product(usv: tuple) -> tuple:
    U, S, V = usv
    k = S.shape[-1]
    return (U[..., :k] * S.unsqueeze(-2)) @ V[..., :k].mH, S, U.mH @ U, V.mH @ V


# What is unique about the results of operators whose vectors are not: products and sizes.
DETERMINED = {
    "linalg.eig": lambda result: (result[0], abs(result[1])),
    "linalg.eigh": lambda result: (result[0], abs(result[1])),
    "linalg.svd": lambda result: _product((result[0], result[1], result[2].mH)),
    "svd": _product,
    "svd_lowrank": lambda usv: _product(usv)[:2],
    "pca_lowrank": lambda usv: _product(usv)[:2],
}


class Different(Exception):
    """The two libraries disagree."""


@dataclass
class Tally:
    """How much was really compared, so that a pass of nothing shows."""

    compared: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)


def operators() -> dict[str, OpInfo]:
    """The database's entries by name and variant; the few with equal names are numbered."""
    found: dict[str, OpInfo] = {}
    for op in op_db:
        name = f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name
        number = 2
        while name in found:
            name = f"{name.partition('#')[0]}#{number}"
            number += 1
        found[name] = op
    return found


def dtypes_of(op: OpInfo) -> list[torch.dtype]:
    return sorted(op.supported_dtypes("cpu"), key=str)


def run_check(name: str, op: OpInfo, dtype_name: str) -> tuple[str, str]:
    """(status, reason) of one pair; the status is PASS, FAIL, MISSING or LEFT-OUT."""
    why = left_out.reason(name)
    if why:
        return "LEFT-OUT", why
    if dtype_name != ERRORS and not hasattr(peer, dtype_name):
        return "LEFT-OUT", f"{peer.__name__} has no dtype {dtype_name}"
    try:
        operator = Operator(op)
        tally = (
            operator.check_errors() if dtype_name == ERRORS else operator.check(getattr(torch, dtype_name))
        )
    except Missing as missing:
        return "MISSING", str(missing)
    except Different as different:
        return "FAIL", str(different)
    if tally.compared == 0 and tally.reasons:
        return "LEFT-OUT", f"no sample can be compared: {tally.reasons[0]}"
    return "PASS", ""


# --- running and comparing ----------------------------------------------------------------------------------


def call(library: object, function: Callable, *args: object, **kwargs: object) -> object:
    library.manual_seed(SEED)
    return function(*args, **kwargs)


def shorten(text: object, limit: int = 300) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def describe(value: object) -> str:
    if isinstance(value, torch.Tensor):
        contiguous = (
            "" if value.layout != torch.strided or value.is_contiguous() else f" strides {value.stride()}"
        )
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{contiguous}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(describe, value)) + ")"
    return shorten(repr(value), 60)


def describe_sample(sample: SampleInput) -> str:
    parts = [describe(sample.input), *map(describe, sample.args)]
    parts += [f"{key}={describe(value)}" for key, value in sample.kwargs.items()]
    return shorten(", ".join(parts), 200)


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """The values inside nested tuples, lists and dicts, with their position."""
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size | peer.Size):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}[{key!r}]")
    else:
        yield path, value


def require(condition: bool, text: str) -> None:
    if not condition:
        raise Different(text)


def compare_values(
    expected: torch.Tensor,
    actual: torch.Tensor,
    tolerance: tuple[float, float],
    what: str,
    precise: Callable | None,
) -> None:
    expected = expected.detach().resolve_conj().resolve_neg()
    if expected.layout != torch.strided:
        expected = expected.to_dense()
    if expected.device.type == "meta":
        return
    if expected.dtype == torch.complex32:
        expected, actual = expected.to(torch.complex64), actual.to(torch.complex64)
    if not (expected.dtype.is_floating_point or expected.dtype.is_complex):
        if torch.equal(expected, actual):
            return
        count = int((expected != actual).sum())
        where = (expected != actual).nonzero()[0].tolist()
        pair = f"{actual[tuple(where)].item()} for {expected[tuple(where)].item()}"
        raise Different(f"{what}: {count} of {expected.numel()} values differ, first at {where}: {pair}")
    try:
        torch.testing.assert_close(actual, expected, rtol=tolerance[0], atol=tolerance[1], equal_nan=True)
    except AssertionError as difference:
        truth = precise() if precise else None
        if truth is None or not as_close(truth, expected, actual, tolerance):
            raise Different(f"{what}: {shorten(difference)}") from None


def as_close(
    truth: torch.Tensor, expected: torch.Tensor, actual: torch.Tensor, tolerance: tuple[float, float]
) -> bool:
    """Whether `actual` is no further from the result in double precision than PyTorch's own is, or is within tolerance."""
    if truth.shape != actual.shape:
        return False
    wide = truth.dtype
    theirs, ours, truth = (expected.to(wide) - truth).abs(), (actual.to(wide) - truth).abs(), truth.abs()
    theirs = theirs.nan_to_num(
        nan=torch.inf, posinf=torch.inf
    )  # NaN where there is a result is as far off as can be
    near = (actual.to(wide) - expected.to(wide)).abs() <= tolerance[1] + tolerance[0] * expected.to(
        wide
    ).abs()
    same = (actual == expected) | (actual.isnan() & expected.isnan())
    return bool((near | same | (ours <= theirs + tolerance[1] + tolerance[0] * truth)).all())


WIDE = {dtype: torch.float64 for dtype in (torch.float16, torch.bfloat16, torch.float32)}
WIDE |= {dtype: torch.complex128 for dtype in (torch.complex32, torch.complex64)}


def widened(value: object) -> object:
    """`value` with every floating tensor and dtype inside in double precision."""
    if isinstance(value, torch.Tensor):
        return value.detach().to(WIDE.get(value.dtype, value.dtype)).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return WIDE.get(value, value)
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)(widened(item) for item in value)
    if isinstance(value, dict):
        return {key: widened(item) for key, item in value.items()}
    return value


def compare(
    expected: object,
    actual: object,
    tolerance: Callable,
    what: str,
    values: bool = True,
    precise: Callable | None = None,
) -> None:
    """Raise Different unless the results agree in structure, type, dtype, shape and value.

    `precise()` gives the result in double precision. Where the two libraries differ, flambeau's values may be nearer to
    it than PyTorch's: that is no fault.
    """
    left, right = list(leaves(expected)), list(leaves(actual))
    require(len(left) == len(right), f"{what}: {len(right)} results for {len(left)}")
    for place, ((path, one), (_, two)) in enumerate(zip(left, right, strict=True)):
        where = what + path
        if not isinstance(one, torch.Tensor):
            if isinstance(one, torch.dtype | torch.device | torch.layout):
                require(str(one) == str(two), f"{where}: {two} for {one}")
            elif isinstance(one, float | complex):
                require(type(one) is type(two), f"{where}: {type(two).__name__} for {type(one).__name__}")
                compare_values(torch.tensor(one), torch.tensor(two), tolerance(torch.float32), where, None)
            else:
                require(one == two, f"{where}: {two!r} for {one!r}")
            continue
        require(isinstance(two, peer.Tensor), f"{where}: {type(two).__name__} for a tensor")
        require(str(one.dtype) == str(two.dtype), f"{where}: dtype {two.dtype} for {one.dtype}")
        require(
            tuple(one.shape) == tuple(two.shape), f"{where}: shape {tuple(two.shape)} for {tuple(one.shape)}"
        )
        if values:
            truth = (lambda place=place: precise(place)) if precise else None
            compare_values(one, to_torch_tensor(two), tolerance(one.dtype), where, truth)


def tensors_in(value: object, library: object) -> list:
    return [leaf for _, leaf in leaves(value) if isinstance(leaf, library.Tensor)]


def spread(items: list, count: int) -> list:
    """At most `count` of the items, evenly spread, the first and last among them."""
    if len(items) <= count:
        return items
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def same_kind(error: BaseException, wanted: type) -> bool:
    if wanted.__module__.startswith("torch"):
        wanted = lookup(
            f"{wanted.__module__}.{wanted.__qualname__}".removeprefix("torch.").removeprefix("_C.")
        )
    return isinstance(error, wanted)


def tolerances(decorators: Iterable, sample_dtype: torch.dtype) -> Callable:
    """(rtol, atol) by dtype: PyTorch's own defaults, widened where the database widens them."""
    overrides: dict[torch.dtype, list] = {}
    for decorator in decorators:
        applies = not isinstance(decorator, DecorateInfo) or (
            decorator.device_type in (None, "cpu")
            and (not decorator.dtypes or sample_dtype in decorator.dtypes)
        )
        inner = decorator.decorators if isinstance(decorator, DecorateInfo) else [decorator]
        for item in inner if applies else ():
            if isinstance(item, toleranceOverride):
                for dtype, wider in item.d.items():
                    overrides.setdefault(dtype, []).append(wider)

    def of(dtype: torch.dtype) -> tuple[float, float]:
        rtol, atol = torch.testing._comparison.get_tolerances(dtype, rtol=None, atol=None)
        for wider in overrides.get(dtype, ()):
            rtol, atol = max(rtol, wider.rtol), max(atol, wider.atol)
        return rtol, atol

    return of


# --- one operator -------------------------------------------------------------------------------------------


class Operator:
    """An entry of the database with both libraries' functions for it."""

    def __init__(self, op: OpInfo) -> None:
        self.op = op
        self.function = self._find(op)
        self.is_random = op.name in left_out.RANDOM
        self.has_values = op.name not in left_out.UNDEFINED_VALUES

    @staticmethod
    def _find(op: OpInfo) -> Callable:
        owner: object = torch
        for part in op.name.split("."):
            owner = getattr(owner, part, None)
        if owner is op.op:
            return lookup(op.name.removeprefix("torch."))
        return function_for_peer(op.op)

    def tolerance(self, sample_dtype: torch.dtype) -> Callable:
        return (lambda _: (0.0, 0.0)) if self.is_random else tolerances(self.op.decorators, sample_dtype)

    def samples(self, dtype: torch.dtype, count: int, requires_grad: bool = False) -> list[SampleInput]:
        torch.manual_seed(SEED)
        made = self.op.sample_inputs("cpu", dtype, requires_grad=requires_grad)
        return spread(list(itertools.islice(made, GENERATED)), count)

    def check(self, dtype: torch.dtype) -> Tally:
        tally, close = Tally(), self.tolerance(dtype)
        for index, sample in enumerate(self.samples(dtype, MOST_SAMPLES.get(dtype, OTHER_SAMPLES))):
            what = describe_sample(sample)
            self._guard(tally, what, lambda: self._forward(sample, close, tally), index)  # noqa: B023
            if index < 4:
                self._guard(tally, what, lambda: self._variants(sample, close), index)  # noqa: B023
                self._guard(tally, what, lambda: self._out(sample, close), index)  # noqa: B023
        compared = self.op.supports_autograd and self.op.name not in left_out.GRADIENTS
        differentiable = compared and dtype in self.op.supported_backward_dtypes("cpu")
        if differentiable and dtype in GRADIENT_DTYPES:
            for index, sample in enumerate(self.samples(dtype, GRADIENT_DTYPES[dtype], requires_grad=True)):
                what = "gradient of " + describe_sample(sample)
                self._guard(tally, what, lambda: self._gradient(sample, close), index)  # noqa: B023
        return tally

    def _guard(self, tally: Tally, what: str, step: Callable, index: int) -> None:
        """Run one comparison; whatever goes wrong in the peer becomes a Different that names the sample."""
        try:
            step()
        except Untranslatable as reason:
            tally.refused += 1
            tally.reasons.append(str(reason))
        except Different as different:
            raise Different(f"sample {index} ({what}): {different}") from None
        except Missing:
            raise
        except AttributeError as error:
            if error.obj is peer or getattr(error.obj, "__name__", "").startswith(peer.__name__ + "."):
                raise Missing(f"{error.obj.__name__}.{error.name} does not exist") from None
            if (isinstance(error.obj, peer.Tensor) or error.obj is peer.Tensor) and error.name.strip(
                "_"
            ) == self.op.name.strip("_"):
                raise Missing(f"{peer.__name__}.Tensor.{error.name} does not exist") from None
            raise Different(f"sample {index} ({what}): AttributeError: {shorten(error)}") from None
        except Exception as error:
            raise Different(f"sample {index} ({what}): {type(error).__name__}: {shorten(error)}") from None

    def _reference(self, function: Callable, *args: object, **kwargs: object) -> object:
        """PyTorch's result; a sample that PyTorch itself refuses on this machine can't be compared."""
        try:
            return call(torch, function, *args, **kwargs)
        except Exception as error:
            raise Untranslatable(
                f"PyTorch refuses it: {type(error).__name__}: {shorten(error, 80)}"
            ) from None

    def _precise(self, sample: SampleInput) -> Callable | None:
        """A function that gives one leaf of the operator's result on the sample in double precision."""
        if self.is_random:
            return None

        def leaf(place: int) -> torch.Tensor | None:
            try:
                result = call(
                    torch, self.op, *widened((sample.input, *sample.args)), **widened(sample.kwargs)
                )
            except Exception:  # the operator has no double precision: PyTorch's own values stand
                return None
            value = list(leaves(result))[place][1]
            return value.detach() if isinstance(value, torch.Tensor) else None

        def reference(place: int) -> torch.Tensor | None:
            """In double precision, the values that the database's own reference, often SciPy's function, gives."""
            try:
                array = sample.input.detach().numpy()
                return torch.as_tensor(self.op.ref(array, *sample.args, **sample.kwargs))
            except Exception:
                return None

        # PyTorch's Bessel functions are rational approximations: SciPy decides who is nearer.
        if self.op.name.startswith("special.bessel") and sample.input.dtype == torch.float64:
            return reference
        return leaf

    def _compare(
        self,
        expected: object,
        actual: object,
        close: Callable,
        what: str,
        values: bool = True,
        precise: Callable | None = None,
    ) -> None:
        """`compare`, of what is determined: vectors of a decomposition have arbitrary signs or phases."""
        if self.op.name in DETERMINED:
            determined, precise = DETERMINED[self.op.name], None
            expected, actual = determined(expected), determined(actual)
        compare(expected, actual, close, what, values, precise)

    @staticmethod
    def _converted(sample: SampleInput) -> tuple[object, tuple, dict]:
        memo: dict = {}
        args = tuple(to_peer(item, memo) for item in sample.args)
        return to_peer(sample.input, memo), args, to_peer(sample.kwargs, memo)

    def _forward(self, sample: SampleInput, close: Callable, tally: Tally) -> None:
        theirs, args, kwargs = self._converted(sample)
        before = sample.input.clone() if isinstance(sample.input, torch.Tensor) else None
        expected = self._reference(self.op, sample.input, *sample.args, **sample.kwargs)
        actual = call(peer, self.function, theirs, *args, **kwargs)
        tally.compared += 1
        self._compare(expected, actual, close, "result", self.has_values, self._precise(sample))
        if before is None or sample.input.layout != torch.strided:
            return
        if not self.op.name.endswith("_") and not isinstance(actual, peer.Tensor | None):
            compare(sample.input, theirs, close, "the input, which must stay as it was,")
        if isinstance(expected, torch.Tensor) and isinstance(actual, peer.Tensor):
            self._compare_view(sample.input, expected, theirs, actual)

    def _compare_view(
        self, source: torch.Tensor, expected: torch.Tensor, theirs: object, actual: object
    ) -> None:
        """A result that shares PyTorch's input memory has to share the peer's, at the same place."""
        if expected.layout != torch.strided or expected.numel() == 0 or source.numel() == 0:
            return
        if expected.is_conj() or expected.is_neg():
            return
        shares = expected.untyped_storage().data_ptr() == source.untyped_storage().data_ptr()
        ours = actual.untyped_storage().data_ptr() == theirs.untyped_storage().data_ptr()
        require(shares == ours, f"the result {'must' if shares else 'must not'} share the input's memory")
        if shares:
            strides, found = expected.stride(), tuple(actual.stride())
            same = all(a == b for a, b, size in zip(strides, found, expected.shape, strict=True) if size > 1)
            require(same, f"strides {found} for {strides}")
            require(expected.storage_offset() == actual.storage_offset(), "the view's offset differs")

    def _variants(self, sample: SampleInput, close: Callable) -> None:
        if not isinstance(sample.input, torch.Tensor):
            return
        for alias in self.op.aliases:
            expected = self._reference(alias.op, sample.input, *sample.args, **sample.kwargs)
            theirs, args, kwargs = self._converted(sample)
            actual = call(peer, lookup(alias.name.removeprefix("torch.")), theirs, *args, **kwargs)
            self._compare(
                expected, actual, close, f"alias {alias.name}", self.has_values, self._precise(sample)
            )
        method = self.op.method_variant
        if method is not None and getattr(torch.Tensor, getattr(method, "__name__", ""), None) is method:
            expected = self._reference(method, sample.input, *sample.args, **sample.kwargs)
            theirs, args, kwargs = self._converted(sample)
            actual = call(peer, getattr(theirs, method.__name__), *args, **kwargs)
            self._compare(
                expected, actual, close, f"method {method.__name__}", self.has_values, self._precise(sample)
            )
        inplace = self.op.inplace_variant
        if inplace is not None:
            self._inplace(sample, inplace, close)

    def _inplace(self, sample: SampleInput, inplace: Callable, close: Callable) -> None:
        if sample.broadcasts_input:
            return
        target = sample.input.detach().clone()
        theirs, args, kwargs = self._converted(sample)
        theirs = theirs.detach().clone()
        name = getattr(inplace, "__name__", "inplace=True")
        method = function_for_peer(inplace)
        try:
            call(torch, inplace, target, *sample.args, **sample.kwargs)
        except Exception as error:
            self._must_raise(error, lambda: call(peer, method, theirs, *args, **kwargs), f"in-place {name}")
            return
        returned = call(peer, method, theirs, *args, **kwargs)
        require(returned is theirs, f"in-place {name} must return its own tensor")
        self._compare(target, theirs, close, f"in-place {name}", self.has_values, self._precise(sample))

    @staticmethod
    def _must_raise(error: Exception, step: Callable, what: str) -> None:
        try:
            step()
        except Exception as found:
            wanted = RuntimeError if isinstance(error, NotImplementedError) else type(error)
            require(
                same_kind(found, wanted),
                f"{what}: {type(found).__name__} for {type(error).__name__}: {shorten(found)}",
            )
            return
        raise Different(f"{what}: no error, PyTorch raises {type(error).__name__}: {shorten(error, 120)}")

    def _out(self, sample: SampleInput, close: Callable) -> None:
        if not self.op.supports_out or self.op.name in left_out.OUT:
            return
        expected = self._reference(self.op, sample.input, *sample.args, **sample.kwargs)
        if (
            not isinstance(expected, torch.Tensor)
            or expected.layout != torch.strided
            or expected.requires_grad
        ):
            return
        for kind in (
            "of the right shape",
            "to be resized",
            "with other strides",
            "of a dtype that can't hold it",
        ):
            out = self._make_out(expected, kind)
            if out is None or (kind == "with other strides" and self.op.name in left_out.STRIDED_OUT):
                continue
            theirs, args, kwargs = self._converted(sample)
            their_out, strides = to_peer(out), out.stride()
            step = lambda: call(peer, self.function, theirs, *args, **kwargs, out=their_out)  # noqa: B023, E731
            what = f"out= {kind}"
            try:
                torch.manual_seed(SEED)
                self.op(sample.input, *sample.args, **sample.kwargs, out=out)
            except Exception as error:
                self._must_raise(error, step, what)
                continue
            returned = step()
            require(returned is their_out, f"{what}: the result must be `out` itself")
            compare(out, their_out, close, what, self.has_values, self._precise(sample))
            if kind == "with other strides":
                # PyTorch itself gives `out` other strides here and there: what the caller gave is right too.
                kept = tuple(their_out.stride()) in (out.stride(), strides)
                require(kept, f"{what}: the strides must stay")

    @staticmethod
    def _make_out(expected: torch.Tensor, kind: str) -> torch.Tensor | None:
        if kind == "of the right shape":
            return torch.zeros_like(expected, memory_format=torch.contiguous_format)
        if kind == "to be resized":
            return torch.empty(0, dtype=expected.dtype)
        if kind == "with other strides":
            if expected.dim() == 0:
                return None
            wide = torch.zeros((*expected.shape[:-1], 2 * expected.shape[-1]), dtype=expected.dtype)
            return wide[..., ::2]
        if not (expected.dtype.is_floating_point or expected.dtype.is_complex):
            return None
        return torch.zeros(expected.shape, dtype=torch.int64)

    def _gradient(self, sample: SampleInput, close: Callable) -> None:
        theirs, args, kwargs = self._converted(sample)
        ours = (sample.input, sample.args, sample.kwargs)
        post = sample.output_process_fn_grad
        expected = self._gradients(torch, self.op, ours, post)
        actual = self._gradients(peer, self.function, (theirs, args, kwargs), function_for_peer(post))
        require(len(expected) == len(actual), f"{len(actual)} gradients for {len(expected)}")
        for index, (one, two) in enumerate(zip(expected, actual, strict=True)):
            if one is None or two is None:  # "no gradient" and a gradient of zeros say the same
                nonzero = any(bool((gradient != 0).any()) for gradient in (one, two) if gradient is not None)
                require(not nonzero, f"input {index}: {'no' if two is None else 'a'} gradient")
            else:
                truth = self._precise_gradient(sample, index) if one.dtype in WIDE else None
                compare(one, two, close, f"gradient of input {index}", self.has_values, truth)

    def _precise_gradient(self, sample: SampleInput, index: int) -> Callable:
        """A function that gives one gradient of the sample in double precision, for the same cotangents."""

        def leaf(place: int) -> torch.Tensor | None:
            try:
                inputs = (widened(sample.input), widened(sample.args), widened(sample.kwargs))
                return self._gradients(torch, self.op, inputs, sample.output_process_fn_grad, narrow=True)[
                    index
                ]
            except Exception:
                return None

        return leaf

    def _gradients(
        self, library: object, function: Callable, inputs: tuple, post: Callable, narrow: bool = False
    ) -> list:
        value, args, kwargs = inputs
        wanted = [leaf for leaf in tensors_in((value, args, kwargs), library) if leaf.requires_grad]
        wanted = list({id(leaf): leaf for leaf in wanted}.values())
        run = self._reference if library is torch else lambda *a, **k: call(peer, *a, **k)
        result = post(run(function, value, *args, **kwargs))
        outputs = [leaf for leaf in tensors_in(result, library) if leaf.requires_grad]
        if not outputs or not wanted:
            return []
        generator = torch.Generator().manual_seed(SEED)
        cotangents = []
        for output in outputs:
            dtype = getattr(torch, str(output.dtype).removeprefix("torch."))
            drawn = (
                {torch.float64: torch.float32, torch.complex128: torch.complex64}[dtype] if narrow else dtype
            )
            made = torch.randn(tuple(output.shape), dtype=drawn, generator=generator).to(dtype)
            cotangents.append(made if library is torch else to_peer(made))
        differentiate = lambda: library.autograd.grad(outputs, wanted, cotangents, allow_unused=True)  # noqa: E731
        return list(self._reference(differentiate) if library is torch else differentiate())

    def check_errors(self) -> Tally:
        tally, cases = Tally(), []
        for index, case in enumerate(self.op.error_inputs("cpu")):
            # All are converted before any is run: one may spoil the `out` that the next one shares.
            sample = case.sample_input
            what = f"error input {index} ({describe_sample(sample)})"
            try:
                cases.append((case, what, self._converted(sample)))
            except Exception as reason:  # a tensor of 65 dimensions, say, that flambeau does not even make
                tally.reasons.append(str(reason))
        for case, what, (theirs, args, kwargs) in cases:
            sample = case.sample_input
            try:
                call(torch, self.op, sample.input, *sample.args, **sample.kwargs)
                continue  # PyTorch accepts it here: it is an error on other devices only
            except Exception as error:
                if not isinstance(error, case.error_type):
                    continue
            tally.compared += 1
            try:
                call(peer, self.function, theirs, *args, **kwargs)
            except Exception as error:
                if not same_kind(error, case.error_type):
                    text = f"{type(error).__name__} for {case.error_type.__name__}: {shorten(error)}"
                    raise Different(f"{what}: {text}") from None
                told = re.search(case.error_regex, str(error)) is not None
                if not told and self.op.name not in left_out.MESSAGES:
                    pattern = shorten(case.error_regex, 160)
                    raise Different(
                        f"{what}: the message {shorten(error, 160)!r} does not match {pattern!r}"
                    ) from None
            else:
                raise Different(f"{what}: no error, PyTorch raises {case.error_type.__name__}")
        return tally
