"""A number that tells whether two tensors hold the same bits."""

from .._dtypes_info import check_computing
from .outputs import deliver
from .registry import composite


@composite(method=True)
def hash_tensor(input, dim=(), *, keepdim=False, mode=0, out=None):
    """Exclusive or of all elements' bits, each widened to float64 or int64 first; of all dimensions, or of those in `dim`.

    Args:
        input: real; not uint16, uint32 or uint64.
        mode: 0, the only one.

    Returns:
        uint64.

    >>> flambeau.hash_tensor(flambeau.tensor([1, 2, 4])), flambeau.hash_tensor(flambeau.tensor([[1, 2], [1, 4]]), 0)
    (tensor(7, dtype=torch.uint64), tensor([0, 6], dtype=torch.uint64))
    """
    import flambeau

    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    check_computing(input, "xor_sum_cpu")
    if input.dtype.is_complex or input.dtype in (flambeau.uint16, flambeau.uint32, flambeau.uint64):
        raise NotImplementedError(f'"xor_sum_cpu" not implemented for {input.dtype}')
    if out is not None and out.dtype is not flambeau.uint64:
        raise RuntimeError(f"hash_tensor(): Expected result to be of dtype uint64, but got {out.dtype}")
    dim = () if dim is None else dim
    n = input.dim()
    dims = sorted(_wrapped((dim,) if isinstance(dim, int) else tuple(dim) or range(n), n))
    if input.numel() == 0 and (dim == () or dim == []):
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. "
            "Specify the reduction dim with the 'dim' argument."
        )
    for d in dims:
        if n and input.size(d) == 0:
            raise IndexError(f"hash_tensor: Expected reduction dim {d} to have non-zero size.")
    wide = flambeau.float64 if input.is_floating_point() else flambeau.int64
    bits = input.detach().to(wide).view(flambeau.int64)
    kept = [d for d in range(n) if d not in dims]
    shape = [1 if d in dims else input.size(d) for d in range(n) if keepdim or d not in dims]
    rows = [input.size(d) for d in kept]
    bits = (
        bits.permute(kept + dims if n else []).reshape(*rows, -1)
        if input.numel()
        else bits.new_empty((*rows, 1))
    )
    # Halves against each other: half of the rest each time, in loops that are vectorised.
    while (count := bits.size(-1)) > 1:
        half = count // 2
        folded = bits[..., :half] ^ bits[..., half : 2 * half]
        if count % 2:
            folded[..., 0] ^= bits[..., -1]
        bits = folded
    if bits.data_ptr() == input.data_ptr():
        bits = bits.clone()
    return deliver(bits.reshape(shape).view(flambeau.uint64), out, "hash_tensor", same_dtype=True)


def _wrapped(dims, n):
    found = set()
    for d in dims:
        if not -max(n, 1) <= d < max(n, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(n, 1)}, {max(n, 1) - 1}], but got {d})"
            )
        d %= max(n, 1)
        if d in found:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
        found.add(d)
    return found if n else []
