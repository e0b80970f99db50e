"""Timing statements with care: warm-up, blocks long enough for the clock, a set number of threads, honest statistics.

from torch.utils import benchmark
timer = benchmark.Timer("x @ x", globals={"x": torch.rand(64, 64)}, label="square", num_threads=1)
print(timer.blocked_autorange())
benchmark.Compare(measurements).print()
"""

from .utils import common, compare
from .utils.common import *
from .utils.compare import Colorize, Compare
from .utils.timer import Language, Timer, timer
