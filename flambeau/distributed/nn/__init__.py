"""Collective operations through which gradients flow."""

from . import functional
from .functional import *
