"""Making ``import torch`` mean flambeau."""
