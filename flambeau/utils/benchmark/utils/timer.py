"""The timer: a statement, executed often enough for the clock to measure it."""

from __future__ import annotations

import enum
import statistics
import textwrap
import timeit
from collections.abc import Callable
from typing import Any

import flambeau

from .common import Measurement, TaskSpec, set_torch_threads

__all__ = ["Language", "Timer", "timer"]

#: The part of a block's time that reading the clock may take.
_CLOCK_SHARE = 1e-4


class Language(enum.Enum):
    """What a statement is written in."""

    PYTHON = 0
    CPP = 1


_LANGUAGES = {
    "py": Language.PYTHON,
    "python": Language.PYTHON,
    Language.PYTHON: Language.PYTHON,
    "c++": Language.CPP,
    "cpp": Language.CPP,
    Language.CPP: Language.CPP,
}


def timer() -> float:
    """Seconds by a clock that only runs forward. Operators have finished when they return: there is no device to wait for.

    >>> flambeau.utils.benchmark.timer() <= flambeau.utils.benchmark.timer()
    True
    """
    return timeit.default_timer()


def _tidy(source: str) -> str:
    """Source text without the indentation and the blank lines that it has from being in a program."""
    lines = textwrap.dedent(source).rstrip().split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    return "\n".join(lines)


class Timer:
    """Measures the time that a statement takes.

    Args:
        stmt: source text, executed in a loop.
        setup: source text, executed once before it.
        global_setup: for C++ statements, which cannot be timed here.
        timer: the clock: returns seconds.
        globals: names that the statement can use; ``torch`` is always one.
        label, sub_label, description, env: names by which `Compare` makes tables: table, row, column, and a mark of rows
            that ran elsewhere.
        num_threads: threads that the library has while it runs.
        language: ``"py"``.

    Raises:
        NotImplementedError: the language is C++.

    >>> from flambeau.utils.benchmark import Timer
    >>> Timer("x + 1", setup="x = torch.ones(2)").timeit(10).number_per_run
    10
    """

    _timer_cls = timeit.Timer

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
        language: Language | str = Language.PYTHON,
    ):
        if not isinstance(stmt, str):
            raise ValueError("Currently only a `str` stmt is supported.")
        if not isinstance(language, (str, Language)) or language not in _LANGUAGES:
            raise ValueError(f"Invalid language `{language}`.")
        if _LANGUAGES[language] is Language.CPP:
            raise NotImplementedError(
                "torch.utils.benchmark.Timer: C++ statements cannot be timed: flambeau has no C++ interface to compile them "
                "against"
            )
        if global_setup:
            raise ValueError(
                f"global_setup is C++ only, got `{global_setup}`. Most likely this code can simply be moved to `setup`."
            )
        stmt, setup = _tidy(stmt), _tidy(setup)
        self._globals = {"torch": flambeau, **(globals or {})}
        self._timer = self._timer_cls(stmt=stmt, setup=setup, timer=timer, globals=self._globals)
        self._task_spec = TaskSpec(
            stmt=stmt,
            setup=setup,
            label=label,
            sub_label=sub_label,
            description=description,
            env=env,
            num_threads=num_threads,
        )

    def _timeit(self, number: int) -> float:
        # A clock that a user gives may be coarse: a time of zero would make the statistics meaningless.
        return max(self._timer.timeit(number), 1e-9)

    def _measurement(self, number: int, times: list[float]) -> Measurement:
        return Measurement(number_per_run=number, raw_times=times, task_spec=self._task_spec)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """Execute the statement `number` times in one run, after a short warm-up."""
        with set_torch_threads(self._task_spec.num_threads):
            self._timeit(max(number // 100, 2))
            return self._measurement(number, [self._timeit(number)])

    def repeat(self, repeat: int = -1, number: int = -1):
        """Raises: `blocked_autorange` does this, with a number that fits."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def autorange(self, callback=None):
        """Raises: `blocked_autorange` does this."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def _block_size(self, min_run_time: float) -> int:
        """Executions in a run, a power of ten: so many that reading the clock does not matter, and that there are
        a thousand runs at most. It warms up too."""
        clock = statistics.median(self._timeit(0) for _ in range(5))
        number = 1
        while True:
            time = self._timeit(number)
            if clock <= _CLOCK_SHARE * time and time >= min_run_time / 1000:
                return number
            if time > min_run_time:  # the clock is slow, or the statement long
                return number
            number *= 10

    def _run_blocks(self, min_run_time: float, max_run_time: float, enough, callback) -> Measurement:
        times: list[float] = []
        total = 0.0
        with set_torch_threads(self._task_spec.num_threads):
            number = self._block_size(min_run_time)
            while total < max_run_time:
                time = self._timeit(number)
                times.append(time)
                total += time
                if callback is not None:
                    callback(number, time)
                if total >= min_run_time and enough(times):
                    break
        return self._measurement(number, times)

    def blocked_autorange(
        self, callback: Callable[[int, float], Any] | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Execute the statement in blocks until they have taken `min_run_time` seconds.

        A block is long enough for the clock, and short enough that there are many for the statistics.

        Args:
            callback: called after each block with the number of executions and the seconds.
        """
        return self._run_blocks(min_run_time, float("inf"), lambda times: True, callback)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable[[int, float], Any] | None = None,
    ) -> Measurement:
        """`blocked_autorange` that goes on until the times agree.

        Args:
            threshold: the interquartile range is to be less than this part of the median.
            min_run_time, max_run_time: seconds, at least and at most.
            callback: called after each block with the number of executions and the seconds.
        """

        def enough(times: list[float]) -> bool:
            return len(times) > 3 and self._measurement(1, times).meets_confidence(threshold)

        return self._run_blocks(min_run_time, max_run_time, enough, callback)

    def collect_callgrind(
        self,
        number: int = 100,
        *,
        repeats: int | None = None,
        collect_baseline: bool = True,
        retain_out_file: bool = False,
    ):
        """Raises: counting instructions under Valgrind is not written."""
        raise NotImplementedError(
            "torch.utils.benchmark.Timer.collect_callgrind: counting instructions under Valgrind is not written; "
            "time the statement with blocked_autorange, or run the program under `valgrind --tool=callgrind` yourself"
        )
