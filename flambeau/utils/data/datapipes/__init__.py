"""Data pipes: datasets made of small steps that are chained by method calls.

PyTorch develops them no further, and neither does flambeau; programs that use them run.
"""

from . import dataframe as dataframe
from . import iter as iter
from . import map as map
