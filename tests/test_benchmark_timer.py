"""torch.utils.benchmark: timing statements, statistics, tables. Expected texts and numbers are PyTorch's own."""

import copy
import pickle
import re

import pytest

import flambeau
from flambeau.utils import benchmark
from flambeau.utils.benchmark import Compare, Measurement, TaskSpec, Timer


def measured(times, number=1, stmt="f()", **names):
    return Measurement(number, times, TaskSpec(stmt, "pass", **names))


class Clock:
    """Seconds that pass only when a statement says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


# ---- the timer


def test_timeit_warms_up_and_counts():
    calls = []
    result = Timer("f(1)", setup="f(0)", globals={"f": calls.append}).timeit(300)
    assert calls.count(1) == 300 + 3 and (result.number_per_run, len(result.raw_times)) == (300, 1)
    assert result.times[0] == result.raw_times[0] / 300 > 0
    assert "1 measurement, 300 runs , 1 thread" in repr(result)


def test_blocks_are_long_enough_for_the_clock_and_last_as_long_as_asked():
    clock = Clock()
    timer = Timer("spend(1e-6)", globals={"spend": clock.spend}, timer=clock)
    seen = []
    result = timer.blocked_autorange(
        callback=lambda number, time: seen.append((number, time)), min_run_time=0.5
    )
    assert result.number_per_run == 1000 and 0.5 <= sum(result.raw_times) < 0.502  # half a second / 1000
    assert [time for _, time in seen] == result.raw_times and {number for number, _ in seen} == {1000}
    assert result.median == pytest.approx(1e-6)


def test_adaptive_timing_goes_on_until_the_times_agree():
    clock, durations = Clock(), iter([1, 1, 1, 5, 9, 13] + [2] * 100)
    timer = Timer("step()", globals={"step": lambda: clock.spend(next(durations))}, timer=clock)
    result = timer.adaptive_autorange(max_run_time=200)
    assert result.meets_confidence(0.1) and len(result.raw_times) > 6
    clock, durations = Clock(), iter([1, 2] * 100)
    timer = Timer("step()", globals={"step": lambda: clock.spend(next(durations))}, timer=clock)
    result = timer.adaptive_autorange(max_run_time=9)
    assert 9 <= sum(result.raw_times) <= 11 and result.has_warnings


def test_threads_are_set_for_the_time_of_the_statement():
    seen, before = [], flambeau.get_num_threads()
    timer = Timer("see(torch.get_num_threads())", globals={"see": seen.append}, num_threads=before + 1)
    assert timer.timeit(1).num_threads == before + 1
    timer.blocked_autorange(min_run_time=1e-5)
    assert set(seen) == {before + 1} and flambeau.get_num_threads() == before
    with pytest.raises(ZeroDivisionError):
        Timer("1 / 0", num_threads=before + 1).timeit(1)
    assert flambeau.get_num_threads() == before


def test_statements_may_be_indented_text_of_several_lines():
    result = Timer(
        """
        y = x + 1
        z = y * 2
        """,
        setup="""
            import math
            x = math.pi
        """,
    ).timeit(2)
    assert result.stmt == "y = x + 1\nz = y * 2" and result.setup == "import math\nx = math.pi"
    assert "stmt:\n  y = x + 1\n  z = y * 2\n\nsetup:\n  import math\n  x = math.pi\n\n" in repr(result)


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({"stmt": 5}, ValueError, "Currently only a `str` stmt is supported."),
        ({"language": "rust"}, ValueError, "Invalid language `rust`."),
        ({"global_setup": "x"}, ValueError, "global_setup is C"),
        ({"language": "c++"}, NotImplementedError, "no C.. interface"),
        ({"language": benchmark.Language.CPP}, NotImplementedError, "no C.. interface"),
    ],
)
def test_what_cannot_be_timed(arguments, error, text):
    with pytest.raises(error, match=text):
        Timer(**arguments)


def test_what_a_timer_does_not_do():
    timer = Timer()
    with pytest.raises(NotImplementedError, match="callgrind"):
        timer.collect_callgrind()
    for name in ("repeat", "autorange"):
        with pytest.raises(NotImplementedError, match="blocked_autorange"):
            getattr(timer, name)()


# ---- statistics


@pytest.mark.parametrize(
    "times, number, figures, doubtful, text",
    [
        ([1e-3], 1, 4, False, "f()\n  1.00 ms\n  1 measurement, 1 runs , 1 thread"),
        (
            [1.0, 1.2],
            1,
            1,
            False,
            "f()\n  Median: 1.10 s\n  2 measurements, 1 runs per measurement, 1 thread",
        ),
        (
            [1e-3, 1.1e-3, 1.05e-3, 1.2e-3],
            10,
            1,
            False,
            "f()\n  Median: 107.50 us\n  IQR:    8.75 us (103.75 to 112.50)\n"
            "  4 measurements, 10 runs per measurement, 1 thread",
        ),
        (
            [1e-3, 1.1e-3, 2.05e-3, 9.2e-3] * 3,
            10,
            1,
            True,
            "f()\n  Median: 157.50 us\n  IQR:    276.25 us (107.50 to 383.75)\n"
            "  12 measurements, 10 runs per measurement, 1 thread\n"
            "  WARNING: Interquartile range is 175.4% of the median measurement.\n"
            "           This suggests significant environmental influence.",
        ),
        ([1e-3, 1.001e-3, 1.002e-3, 1.003e-3, 1.0035e-3], 1, 3, False, None),
        ([1.0] * 5, 1, 4, False, None),
        ([1e-8] * 3, 1, 1, False, None),
    ],
)
def test_statistics_and_text(times, number, figures, doubtful, text):
    result = measured(times, number)
    assert result.significant_figures == figures and result.has_warnings is doubtful
    if text is not None:
        first, _, rest = repr(result).partition("\n")
        assert rest == text and "Measurement object at" in first


def test_names_of_a_measurement():
    result = measured([1.0], label="L", sub_label="S", description="D", env="E", num_threads=3)
    assert (result.title, result.env, result.as_row_name, result.description) == ("L: S", "E", "S", "D")
    assert repr(result).endswith("\nL: S\nD\n  1.00 s\n  1 measurement, 1 runs , 3 threads")
    plain = measured([1.0])
    assert (plain.title, plain.env, plain.as_row_name) == ("f()", "Unspecified env", "f()")
    with pytest.raises(AttributeError):
        plain.nonsense  # noqa: B018
    for made in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert made.title == "L: S" and made.raw_times == [1.0]
    with pytest.raises(ValueError, match="without a single run"):
        measured([]).median  # noqa: B018


def test_merging():
    a, b, c = measured([1.0, 2.0]), measured([3.0], label="other"), measured([4.0])
    assert [m.raw_times for m in Measurement.merge([a, b, c])] == [[1.0, 2.0, 4.0], [3.0]]
    (merged,) = Measurement.merge([measured([1.0, 2.0], 10), measured([3.0], 20)])
    assert (merged.raw_times, merged.number_per_run) == ([0.1, 0.2, 0.15], 1)


def test_units_and_digits():
    for seconds, unit in (
        (0, "ns"),
        (1e-9, "ns"),
        (1e-7, "ns"),
        (1e-6, "us"),
        (1e-3, "ms"),
        (0.5, "ms"),
        (1, "s"),
    ):
        assert benchmark.select_unit(seconds)[0] == unit
    assert [benchmark.unit_to_english(u) for u in ("ns", "us", "ms", "s")] == [
        "nanosecond",
        "microsecond",
        "millisecond",
        "second",
    ]
    for x, n, wanted in ((3.14159, 3, 3.14), (123456, 2, 120000), (99.96, 3, 100), (5, 1, 5), (0.0, 2, 0)):
        assert benchmark.trim_sigfig(x, n) == wanted


# ---- tables


def grid(**names):
    return [
        measured(
            [(1 + 0.01 * j) * 1e-5 * (i + 1) * threads * (3 if row == "bb" else 1) for j in range(8)],
            label="lab",
            sub_label=row,
            description=column,
            num_threads=threads,
        )
        for threads in (1, 2)
        for row in ("a", "bb")
        for i, column in enumerate(("one", "two"))
    ]


def test_a_table_by_rows_columns_and_threads():
    table = Compare(grid())
    assert str(table) == (
        "[---------- lab ----------]\n"
        "          |  one   |   two \n"
        "1 threads: ----------------\n"
        "      a   |  10.4  |   20.7\n"
        "      bb  |  31.1  |   62.1\n"
        "2 threads: ----------------\n"
        "      a   |  20.7  |   41.4\n"
        "      bb  |  62.1  |  124.2\n"
        "\n"
        "Times are in microseconds (us).\n"
    )
    table.trim_significant_figures()
    assert "      bb  |   62  |  120\n" in str(table)


def test_colours():
    best, good, bad, worst = "\x1b[92m\x1b[1m", "\x1b[34m\x1b[1m", "\x1b[2m\x1b[91m", "\x1b[31m\x1b[1m"
    end = "\x1b[0m\x1b[0m"
    table = Compare(grid())
    plain = str(table)
    table.colorize()
    assert f"  a   |  {best}10.4{end}  |  {best} 20.7{end}\n" in str(table)
    assert f"  bb  |  {bad}31.1{end}  |  {bad} 62.1{end}\n" in str(table)
    assert re.sub("\x1b.*?m", "", str(table)) == plain
    table.colorize(rowwise=True)
    assert f"  a   |  {best}10.4{end}  |  {bad} 20.7{end}\n" in str(table)
    paint = {10: best, 10.4: good, 11: good, 12: "", 19.9: "", 20.5: bad, 40: bad, 50: worst, 150: worst}
    table = Compare([measured([t * 1e-6], label="l", sub_label=str(t), description="d") for t in paint])
    table.colorize()
    shown = [line.partition("|  ")[2].replace(" ", "") for line in str(table).splitlines()[3:-2]]
    assert shown == [f"{color}{t:.1f}{end if color else ''}" for t, color in paint.items()]


def test_a_table_of_doubtful_and_absent_times(capsys):
    results = grid()[:6]
    results.append(measured([1e-3, 9e-3, 5e-3, 1e-2], label="lab", sub_label="cc", description="one"))
    table = Compare(results)
    table.extend_results([measured([1e-3] * 4, label="lab2", sub_label="cc", description="one")])
    table.highlight_warnings()
    table.print()
    assert capsys.readouterr().out == (
        "[-------------- lab ---------------]\n"
        "          |       one        |  two \n"
        "1 threads: -------------------------\n"
        "      a   |    10.4          |  20.7\n"
        "      bb  |    31.1          |  62.1\n"
        "      cc  |  7000.0 (! 75%)  |      \n"
        "2 threads: -------------------------\n"
        "      a   |    20.7          |  41.4\n"
        "\n"
        "Times are in microseconds (us).\n"
        "(! XX%) Measurement has high variance, where XX is the IQR / median * 100.\n"
        "\n"
        "[---- lab2 ----]\n"
        "          |  one\n"
        "1 threads: -----\n"
        "      cc  |  1.0\n"
        "\n"
        "Times are in milliseconds (ms).\n"
        "\n"
    )


def test_rows_say_where_they_ran_if_they_differ():
    names = {"label": "l", "sub_label": "a"}
    table = Compare(
        [
            measured([1.0] * 4, description="d", env="ZZZ", **names),
            measured([1.0] * 4, description="d", env="P", **names),
            measured([1.0] * 4, description="e", env="QQ", **names),
        ]
    )
    assert str(table).splitlines()[3:6] == [
        "  (P)    a  |  1.0  |     ",
        "  (QQ)   a  |       |  1.0",
        "  (ZZZ)  a  |  1.0  |     ",
    ]


def test_a_table_takes_nothing_but_measurements():
    with pytest.raises(ValueError, match="Expected an instance of `Measurement`, got <class 'int'> instead."):
        Compare([1])
    assert str(Compare([])) == ""
    assert "f()  |" in str(Compare([measured([1.0])]))  # without a description, which PyTorch asks for
