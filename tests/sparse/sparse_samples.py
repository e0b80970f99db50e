"""Matrices with zeros, and how layouts are asked for."""

import flambeau as torch

COO, CSR, CSC = torch.sparse_coo, torch.sparse_csr, torch.sparse_csc
BSR, BSC = torch.sparse_bsr, torch.sparse_bsc


def matrix(*shape, dtype=torch.float32, zeros=0.6):
    """A strided tensor of which about `zeros` is zero."""
    torch.manual_seed(sum(shape) + 7 * len(shape))
    dense = torch.randn(*shape)
    return (dense * 10 * (torch.rand(*shape) > zeros)).to(dtype)


def options(layout):
    return {"layout": layout} | ({"blocksize": (2, 3)} if layout in (BSR, BSC) else {})
