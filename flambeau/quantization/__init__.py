"""`flambeau.ao.quantization` by its older name."""

from flambeau.ao.quantization import *
