"""What a timing measured, what was timed, and how numbers are shown."""

from __future__ import annotations

import dataclasses
import math
import statistics
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import flambeau

__all__ = [
    "Measurement",
    "TaskSpec",
    "ordered_unique",
    "select_unit",
    "set_torch_threads",
    "trim_sigfig",
    "unit_to_english",
]

#: Interquartile range over median, in percent, from which a measurement is doubted.
_NOISY, _VERY_NOISY = 10, 25
#: No confidence interval is believed to be narrower: what a clock and the loop around a statement cost.
_NARROWEST = 25e-9
#: No clock and no machine are steady beyond.
_MOST_FIGURES = 4
#: Quantile of the normal distribution for 90 % confidence.
_Z = 1.645

_UNITS = {
    "ns": ("nanosecond", 1e-9),
    "us": ("microsecond", 1e-6),
    "ms": ("millisecond", 1e-3),
    "s": ("second", 1),
}


def _block(heading: str, text: str) -> str:
    """``heading: text`` for one line, an indented block for several."""
    if "\n" in text:
        return f"{heading}:\n{textwrap.indent(text, '  ')}"
    return f"{heading}: {text}"


@dataclasses.dataclass(repr=False, eq=False)
class TaskSpec:
    """What a measurement is of: the statement, how it was set up, and under which names tables show it.

    Args:
        stmt, setup, global_setup: source text.
        label: the table that it belongs to.
        sub_label: its row; the statement where absent.
        description: its column.
        env: where it ran, such as a branch's name; part of the row.
        num_threads: threads that the library had.
    """

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """Label and row, or the statement."""
        name = self.label or (_block("stmt", self.stmt) if "\n" in self.stmt else self.stmt)
        return f"{name}: {self.sub_label}" if self.sub_label else name

    def setup_str(self) -> str:
        """How it was set up; empty if it was not."""
        return "" if self.setup in ("", "pass") else _block("setup", self.setup)

    def summarize(self) -> str:
        """The task in a few lines.

        >>> from flambeau.utils.benchmark import TaskSpec
        >>> print(TaskSpec("x + 1", "x = 1", label="sums", description="numbers").summarize())
        sums
        numbers
        setup: x = 1
        """
        parts = [self.title, self.description, self.setup_str()]
        if self.global_setup:
            parts.append(_block("global_setup", self.global_setup))
        parts = [part for part in parts if part]
        return "\n\n".join(parts) + "\n" if any("\n" in part for part in parts) else "\n".join(parts)


def _quantile(ordered: list[float], q: float) -> float:
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclasses.dataclass(repr=False, eq=False)
class Measurement:
    """The times that a statement took.

    Args:
        number_per_run: how often each run executed the statement.
        raw_times: seconds for each run.
        task_spec: what was measured; its fields (``label``, ``stmt`` ...) are attributes of the measurement too.
        metadata: whatever the caller wants to keep with it.

    >>> from flambeau.utils.benchmark import Measurement, TaskSpec
    >>> m = Measurement(10, [1e-3, 1.1e-3, 1.2e-3, 1.3e-3], TaskSpec("f()", "pass"))
    >>> m.median == 1.15e-4, m.label is None
    (True, True)
    >>> print(str(m).partition("\\n")[2])
    f()
      Median: 115.00 us
      IQR:    15.00 us (107.50 to 122.50)
      4 measurements, 10 runs per measurement, 1 thread
      WARNING: Interquartile range is 13.0% of the median measurement.
               This could indicate system fluctuation.
    """

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        # Not through `self.task_spec`: while a copy is being made there is none, and it would be looked for without end.
        spec = self.__dict__.get("task_spec")
        if spec is None or name.startswith("__"):
            raise AttributeError(name)
        return getattr(spec, name)

    @property
    def times(self) -> list[float]:
        """Seconds for one execution of the statement, by run."""
        return [time / self.number_per_run for time in self.raw_times]

    @cached_property
    def _ordered(self) -> list[float]:
        if not self.raw_times:
            raise ValueError("a measurement without a single run has no statistics")
        return sorted(self.times)

    @property
    def median(self) -> float:
        """The middle one of the times, in seconds."""
        return _quantile(self._ordered, 0.5)

    @property
    def mean(self) -> float:
        """The average of the times, in seconds."""
        return statistics.fmean(self._ordered)

    @property
    def _quartiles(self) -> tuple[float, float]:
        return _quantile(self._ordered, 0.25), _quantile(self._ordered, 0.75)

    @property
    def iqr(self) -> float:
        """The interquartile range: the width of the middle half of the times."""
        low, high = self._quartiles
        return high - low

    @property
    def significant_figures(self) -> int:
        """How many digits of the median can be believed.

        From the spread of the middle half of the times (so that a few slow runs do not count), as for a normal
        distribution with 90 % confidence. For showing results: see `trim_sigfig`.
        """
        count = len(self._ordered)
        middle = self._ordered[count // 4 : math.ceil(3 * count / 4)]
        interval = max(_Z * statistics.pstdev(middle) / math.sqrt(len(middle)), _NARROWEST)
        figures = math.floor(-math.log10(interval / self.median)) if self.median else 1
        return min(max(figures, 1), _MOST_FIGURES)

    @property
    def _noise(self) -> float:
        return 100 * self.iqr / self.median if self.median else 0.0

    @property
    def has_warnings(self) -> bool:
        """Whether the times vary so much that the median is doubtful."""
        return not self.meets_confidence()

    def meets_confidence(self, threshold: float = _NOISY / 100) -> bool:
        """Whether the interquartile range is less than this part of the median."""
        return self._noise < 100 * threshold

    @property
    def title(self) -> str:
        """Label and row, or the statement."""
        return self.task_spec.title

    @property
    def env(self) -> str:
        """Where it ran; a text even if nothing was said."""
        return "Unspecified env" if self.task_spec.env is None else self.task_spec.env

    @property
    def as_row_name(self) -> str:
        """The row's name in tables: the sub-label, or the statement."""
        return self.task_spec.sub_label or self.task_spec.stmt or "[Unknown]"

    def __repr__(self) -> str:
        median = self.median
        unit, scale = select_unit(median)
        runs, per_run = len(self.raw_times), self.number_per_run
        lines = [object.__repr__(self), self.task_spec.summarize()]
        if runs == 1:
            lines.append(f"  {median / scale:.2f} {unit}")
        else:
            lines.append(f"  Median: {median / scale:.2f} {unit}")
        if runs > 3:
            low, high = self._quartiles
            lines.append(f"  IQR:    {self.iqr / scale:.2f} {unit} ({low / scale:.2f} to {high / scale:.2f})")
        lines.append(
            f"  {runs} measurement{'s' if runs > 1 else ''}, {per_run} runs {'per measurement' if runs > 1 else ''}, "
            f"{self.num_threads} thread{'s' if self.num_threads > 1 else ''}"
        )
        if self.has_warnings:
            lines.append(f"  WARNING: Interquartile range is {self._noise:.1f}% of the median measurement.")
            cause = (
                "suggests significant environmental influence"
                if self._noise >= _VERY_NOISY
                else "could indicate system fluctuation"
            )
            lines.append(f"           This {cause}.")
        return "\n".join(lines)

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """One measurement for each task that is the same in all its fields; the metadata is dropped.

        >>> from flambeau.utils.benchmark import Measurement, TaskSpec
        >>> a, b = (Measurement(n, [t], TaskSpec("f()", "pass")) for n, t in ((1, 2.0), (10, 40.0)))
        >>> [merged] = Measurement.merge([a, b])
        >>> merged.times
        [2.0, 4.0]
        """
        groups: dict[tuple, list[Measurement]] = {}
        for measurement in measurements:
            groups.setdefault(dataclasses.astuple(measurement.task_spec), []).append(measurement)
        merged = []
        for group in groups.values():
            per_run = group[0].number_per_run
            if all(measurement.number_per_run == per_run for measurement in group):
                times = [time for measurement in group for time in measurement.raw_times]
            else:
                per_run, times = 1, [time for measurement in group for time in measurement.times]
            merged.append(Measurement(per_run, times, group[0].task_spec))
        return merged


def ordered_unique(elements: Iterable[Any]) -> list[Any]:
    """Each element once, in the order in which they come first.

    >>> flambeau.utils.benchmark.ordered_unique("abcab")
    ['a', 'b', 'c']
    """
    return list(dict.fromkeys(elements))


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which to show a number of seconds, and how many seconds it has.

    >>> flambeau.utils.benchmark.select_unit(0.002)
    ('ms', 0.001)
    """
    # In decimal digits: by logarithms, and by dividing, a thousandth falls on either side.
    exponent = int(f"{t:e}".partition("e")[2]) if t else -9
    name = "ns" if exponent < -6 else "us" if exponent < -3 else "ms" if exponent < 0 else "s"
    return name, _UNITS[name][1]


def unit_to_english(u: str) -> str:
    """A unit's name: nanosecond for ns, and so on."""
    return _UNITS[u][0]


def trim_sigfig(x: float, n: int) -> float:
    """A number rounded to `n` significant figures.

    >>> flambeau.utils.benchmark.trim_sigfig(123456, 2)
    120000.0
    """
    if not math.isfinite(x):
        return float(x)
    return float(f"{x:.{max(n, 1) - 1}e}")


@contextmanager
def set_torch_threads(n: int) -> Iterator[None]:
    """Context manager: the library computes with `n` threads."""
    before = flambeau.get_num_threads()
    flambeau.set_num_threads(n)
    try:
        yield
    finally:
        flambeau.set_num_threads(before)
