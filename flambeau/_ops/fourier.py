"""Discrete Fourier transforms: the three native ones, and the functions of `torch.fft` on them."""

import flambeau

from .casts import in_autocast
from .outputs import _class_name, deliver
from .registry import composite, op, takes

_NATIVE = {"method": False, "public": False}
_NONE, _BY_ROOT, _BY_COUNT = 0, 1, 2

_c2c = op(
    "_fft_c2c(Tensor input, int[] dim, int normalization, bool forward) -> Tensor",
    """Complex to complex over the dimensions `dim`, times 1, n^-1/2 or 1/n (`normalization` 0, 1 or 2).""",
    vjp={"input": lambda grad, dim, normalization, forward: _c2c(grad, dim, normalization, not forward)},
    **_NATIVE,
)


def _r2c_vjp(grad, input_shape, dim, normalization, onesided):
    if onesided:  # the other half was not given out
        last = dim[-1]
        sizes = list(grad.shape)
        sizes[last] = input_shape[last] - grad.size(last)
        grad = flambeau.cat([grad, grad.new_zeros(sizes)], last)
    return _c2c(grad, dim, normalization, False).real


_r2c = op(
    "_fft_r2c(Tensor input, int[] dim, int normalization, bool onesided) -> Tensor",
    """Real to complex, forward; `onesided`: of the last of `dim` only the first n // 2 + 1 points, which say all.""",
    vjp={"input": _r2c_vjp},
    **_NATIVE,
)


def _c2r_vjp(grad, dim, normalization, last_dim_size):
    result = _r2c(grad, dim, normalization, True)
    last = dim[-1]
    # Points that stand for their mirror images too count twice.
    twice = last_dim_size - result.size(last)
    weight = flambeau.ones(result.size(last), dtype=grad.dtype)
    weight[1 : 1 + twice] = 2
    return result * weight.reshape([-1] + [1] * (result.dim() - 1 - last % result.dim()))


def _c2r_gradient(grad, input_shape, dim, normalization, last_dim_size):
    return _resized(_c2r_vjp(grad, dim, normalization, last_dim_size), [dim[-1]], [input_shape[dim[-1]]])


_c2r = op(
    "_fft_c2r(Tensor input, int[] dim, int normalization, int last_dim_size) -> Tensor",
    """Complex to real, backward: the last of `dim` holds the first half of a Hermitian signal of `last_dim_size`.""",
    vjp={"input": _c2r_gradient},
    **_NATIVE,
)


# ---- arguments ----------------------------------------------------------------------------------------------------------


def _normalization(norm, forward):
    if norm is None or norm == "backward":
        return _NONE if forward else _BY_COUNT
    if norm == "forward":
        return _BY_COUNT if forward else _NONE
    if norm == "ortho":
        return _BY_ROOT
    raise RuntimeError(f'Invalid normalization mode: "{norm}"')


@in_autocast("float32")
def _promoted(input, complex):
    """The input in a dtype that can be transformed; with `complex` a complex one."""
    dtype = input.dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        dtype = flambeau.get_default_dtype()
    if dtype not in (flambeau.float32, flambeau.float64, flambeau.complex64, flambeau.complex128):
        raise RuntimeError(
            f"Unsupported dtype {_class_name(dtype)}: transforms take single and double precision"
        )
    if complex and not dtype.is_complex:
        dtype = flambeau.complex64 if dtype == flambeau.float32 else flambeau.complex128
    return input.to(dtype)


def _real(input, name):
    if input.is_complex():
        raise RuntimeError(f"{name} expects a real input tensor, but got {_class_name(input.dtype)}")
    return _promoted(input, False)


def _resized(input, dims, sizes):
    """Cut off, or filled with zeros, to these sizes."""
    for d, n in zip(dims, sizes, strict=True):
        have = input.size(d)
        if n < have:
            input = input.narrow(d, 0, n)
        elif n > have:
            shape = list(input.shape)
            shape[d] = n - have
            input = flambeau.cat([input, input.new_zeros(shape)], d)
    return input


def _wrap(d, ndim):
    if ndim == 0:
        raise IndexError(f"Dimension specified as {d} but tensor has no dimensions")
    if not -ndim <= d < ndim:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {d})"
        )
    return d % ndim


def _dims_and_sizes(input, s, dim):
    """The dimensions to transform, none twice, and the size that each is to have."""
    ndim = input.dim()
    if isinstance(s, int):
        s = (s,)
    if isinstance(dim, int):
        dim = (dim,)
    if dim is not None:
        dims = [_wrap(d, ndim) for d in dim]
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
        if s is not None and len(s) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    elif s is not None:
        if len(s) > ndim:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {ndim} dimensions.")
        dims = list(range(ndim - len(s), ndim))
    else:
        dims = list(range(ndim))
    sizes = (
        [input.size(d) for d in dims]
        if s is None
        else [input.size(d) if n == -1 else n for d, n in zip(dims, s, strict=True)]
    )
    return dims, sizes


def _check_points(sizes):
    for n in sizes:
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")


def _deliver(result, out, name):
    if out is not None and result.is_complex() and not out.is_complex():
        raise RuntimeError(f"{name} expects a complex output tensor, but got {_class_name(out.dtype)}")
    if out is not None and not result.is_complex() and not out.is_floating_point():
        raise RuntimeError(f"{name} expects a floating point output tensor, but got {_class_name(out.dtype)}")
    return deliver(result, out, name)


# ---- the three kinds ------------------------------------------------------------------------------------------------------


def _complex_transform(name, input, s, dim, norm, forward, out):
    input = _promoted(input, True)
    dims, sizes = _dims_and_sizes(input, s, dim)
    _check_points(sizes)
    result = _c2c(_resized(input, dims, sizes), dims, _normalization(norm, forward), forward)
    return _deliver(result, out, name)


def _from_real(name, input, s, dim, norm, out, forward=True):
    input = _real(input, name)
    dims, sizes = _dims_and_sizes(input, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    _check_points(sizes)
    result = _r2c(_resized(input, dims, sizes), dims, _normalization(norm, forward), True)
    return _deliver(result if forward else flambeau.conj(result).resolve_conj(), out, name)


def _to_real(name, input, s, dim, norm, out, forward=False):
    input = _promoted(input, True)
    dims, sizes = _dims_and_sizes(input, s, dim)
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")
    last = dims[-1]
    given = s is not None and (s if isinstance(s, int) else s[-1]) != -1
    n = sizes[-1] if given else 2 * (input.size(last) - 1)
    _check_points([*sizes[:-1], n])
    input = _resized(input, dims, [*sizes[:-1], n // 2 + 1])
    if forward:
        input = flambeau.conj(input)
    return _deliver(_c2r(input, dims, _normalization(norm, forward), n), out, name)


# ---- the functions of torch.fft -----------------------------------------------------------------------------------------


@takes("fft_fft(Tensor input, int? n=None, int dim=-1, str? norm=None, *, Tensor? out=None)")
def fft_fft(input, n=None, dim=-1, norm=None, *, out=None):
    """The discrete Fourier transform of one dimension: X[k] = sum over j of x[j] exp(-2 pi i j k / n).

    n: the signal is cut off or filled with zeros to this length first. norm: "backward" (no factor; the default),
    "forward" (1/n) or "ortho" (n^-1/2).

    >>> flambeau.fft.fft(flambeau.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """
    return _complex_transform("fft", input, n, dim, norm, True, out)


@takes("fft_ifft(Tensor input, int? n=None, int dim=-1, str? norm=None, *, Tensor? out=None)")
def fft_ifft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of `fft.fft`, with the factor 1/n ("backward"), none ("forward") or n^-1/2 ("ortho").

    >>> flambeau.fft.ifft(flambeau.tensor([4.0, 0.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """
    return _complex_transform("ifft", input, n, dim, norm, False, out)


@takes("fft_fft2(Tensor input, int[1]? s=None, int[1] dim=(-2, -1), str? norm=None, *, Tensor? out=None)")
def fft_fft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """The transform of two dimensions: `fft.fftn` of the last two.

    >>> flambeau.fft.fft2(flambeau.ones(2, 2)).real
    tensor([[4., 0.],
            [0., 0.]])
    """
    return _complex_transform("fft2", input, s, dim, norm, True, out)


@takes(
    "fft_ifft2(Tensor input, int[1]? s=None, int[1] dim=(-2, -1), str? norm=None, *, Tensor? out=None)",
)
def fft_ifft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """The inverse of `fft.fft2`.

    >>> flambeau.fft.ifft2(flambeau.ones(2, 2)).real
    tensor([[1., 0.],
            [0., 0.]])
    """
    return _complex_transform("ifft2", input, s, dim, norm, False, out)


@takes("fft_fftn(Tensor input, int[1]? s=None, int[1]? dim=None, str? norm=None, *, Tensor? out=None)")
def fft_fftn(input, s=None, dim=None, norm=None, *, out=None):
    """The transform of several dimensions: all, the last len(s), or those of `dim`; s: their sizes (-1 keeps one).

    >>> flambeau.fft.fftn(flambeau.ones(2, 2, 2)).real.sum()
    tensor(8.)
    """
    return _complex_transform("fftn", input, s, dim, norm, True, out)


@takes("fft_ifftn(Tensor input, int[1]? s=None, int[1]? dim=None, str? norm=None, *, Tensor? out=None)")
def fft_ifftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of `fft.fftn`.

    >>> flambeau.fft.ifftn(flambeau.ones(2, 2, 2)).real.sum()
    tensor(1.)
    """
    return _complex_transform("ifftn", input, s, dim, norm, False, out)


@takes("fft_rfft(Tensor input, int? n=None, int dim=-1, str? norm=None, *, Tensor? out=None)")
def fft_rfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The transform of real numbers: its first n // 2 + 1 points, of which the others are conjugates.

    >>> flambeau.fft.rfft(flambeau.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j])
    """
    return _from_real("rfft", input, n, dim, norm, out)


@takes("fft_irfft(Tensor input, int? n=None, int dim=-1, str? norm=None, *, Tensor? out=None)")
def fft_irfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of `fft.rfft`; n: the length of the result, by default 2 (m - 1) for m points.

    >>> flambeau.fft.irfft(flambeau.ones(3))
    tensor([1., 0., 0., 0.])
    """
    return _to_real("irfft", input, n, dim, norm, out)


@takes(
    "fft_rfft2(Tensor input, int[1]? s=None, int[1] dim=(-2, -1), str? norm=None, *, Tensor? out=None)",
)
def fft_rfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """The transform of two dimensions of real numbers: `fft.rfftn` of the last two.

    >>> flambeau.fft.rfft2(flambeau.ones(2, 2)).shape
    torch.Size([2, 2])
    """
    return _from_real("rfft2", input, s, dim, norm, out)


@takes(
    "fft_irfft2(Tensor input, int[1]? s=None, int[1] dim=(-2, -1), str? norm=None, *, Tensor? out=None)",
)
def fft_irfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """The inverse of `fft.rfft2`.

    >>> flambeau.fft.irfft2(flambeau.fft.rfft2(flambeau.eye(2)))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _to_real("irfft2", input, s, dim, norm, out)


@takes("fft_rfftn(Tensor input, int[1]? s=None, int[1]? dim=None, str? norm=None, *, Tensor? out=None)")
def fft_rfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The transform of several dimensions of real numbers; of the last one only the first half is given.

    >>> flambeau.fft.rfftn(flambeau.ones(2, 2, 6)).shape
    torch.Size([2, 2, 4])
    """
    return _from_real("rfftn", input, s, dim, norm, out)


@takes("fft_irfftn(Tensor input, int[1]? s=None, int[1]? dim=None, str? norm=None, *, Tensor? out=None)")
def fft_irfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of `fft.rfftn`.

    >>> flambeau.fft.irfftn(flambeau.ones(2, 2, 4)).shape
    torch.Size([2, 2, 6])
    """
    return _to_real("irfftn", input, s, dim, norm, out)


@takes("fft_hfft(Tensor input, int? n=None, int dim=-1, str? norm=None, *, Tensor? out=None)")
def fft_hfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The transform, which is real, of a Hermitian signal of which `input` is the first half; n: its length.

    >>> flambeau.fft.hfft(flambeau.ones(3))
    tensor([4., 0., 0., 0.])
    """
    return _to_real("hfft", input, n, dim, norm, out, forward=True)


@takes("fft_ihfft(Tensor input, int? n=None, int dim=-1, str? norm=None, *, Tensor? out=None)")
def fft_ihfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of `fft.hfft`: the first half of a Hermitian signal.

    >>> flambeau.fft.ihfft(flambeau.tensor([4.0, 0.0, 0.0, 0.0])).real
    tensor([1., 1., 1.])
    """
    return _from_real("ihfft", input, n, dim, norm, out, forward=False)


@takes("fft_hfftn(Tensor input, int[1]? s=None, int[1]? dim=None, str? norm=None, *, Tensor? out=None)")
def fft_hfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The transform, which is real, of a Hermitian signal in several dimensions; `input` is its first half in the last.

    >>> flambeau.fft.hfftn(flambeau.ones(2, 3)).shape
    torch.Size([2, 4])
    """
    input = _promoted(input, True)
    dims, sizes = _dims_and_sizes(input, s, dim)
    if not dims:
        raise RuntimeError("hfftn must transform at least one axis")
    given = s is not None and (s if isinstance(s, int) else s[-1]) != -1
    n = sizes[-1] if given else 2 * (input.size(dims[-1]) - 1)
    _check_points([*sizes[:-1], n])
    input = _resized(input, dims, [*sizes[:-1], n // 2 + 1])
    normalization = _normalization(norm, True)
    if dims[:-1]:
        input = _c2c(input, dims[:-1], normalization, True)
    result = _c2r(flambeau.conj(input), dims[-1:], normalization, n)
    return _deliver(result, out, "hfftn")


@takes("fft_ihfftn(Tensor input, int[1]? s=None, int[1]? dim=None, str? norm=None, *, Tensor? out=None)")
def fft_ihfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of `fft.hfftn`.

    >>> flambeau.fft.ihfftn(flambeau.ones(2, 4)).shape
    torch.Size([2, 3])
    """
    input = _real(input, "ihfftn")
    dims, sizes = _dims_and_sizes(input, s, dim)
    if not dims:
        raise RuntimeError("ihfftn must transform at least one axis")
    _check_points(sizes)
    normalization = _normalization(norm, False)
    half = flambeau.conj(_r2c(_resized(input, dims, sizes), dims[-1:], normalization, True)).resolve_conj()
    result = _c2c(half, dims[:-1], normalization, False) if dims[:-1] else half
    return _deliver(result, out, "ihfftn")


@takes(
    "fft_hfft2(Tensor input, int[1]? s=None, int[1] dim=(-2, -1), str? norm=None, *, Tensor? out=None)",
)
def fft_hfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """`fft.hfftn` of the last two dimensions.

    >>> flambeau.fft.hfft2(flambeau.ones(2, 3)).shape
    torch.Size([2, 4])
    """
    return fft_hfftn(input, s, dim, norm, out=out)


@takes(
    "fft_ihfft2(Tensor input, int[1]? s=None, int[1] dim=(-2, -1), str? norm=None, *, Tensor? out=None)",
)
def fft_ihfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """`fft.ihfftn` of the last two dimensions.

    >>> flambeau.fft.ihfft2(flambeau.ones(2, 4)).shape
    torch.Size([2, 3])
    """
    return fft_ihfftn(input, s, dim, norm, out=out)


_OPTIONS = (
    "Tensor? out=None, dtype? dtype=None, layout? layout=None, device? device=None, bool? pin_memory=None, "
    "bool requires_grad=False"
)


@takes(f"fft_fftfreq(int n, float d=1.0, *, {_OPTIONS})")
def fft_fftfreq(n, d, *, out, dtype, layout, device, pin_memory, requires_grad):
    """The frequencies that the points of `fft.fft` stand for: 0, 1, ..., -2, -1 over n d, d the distance of samples.

    >>> flambeau.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    dtype = flambeau.get_default_dtype() if dtype is None else dtype
    result = flambeau.arange(n, dtype=dtype, device=device)
    result[(n + 1) // 2 :] -= n
    return deliver(result * (1.0 / (n * d)), out, "fft_fftfreq").requires_grad_(requires_grad)


@takes(f"fft_rfftfreq(int n, float d=1.0, *, {_OPTIONS})")
def fft_rfftfreq(n, d, *, out, dtype, layout, device, pin_memory, requires_grad):
    """The frequencies that the points of `fft.rfft` stand for: 0, 1, ..., n // 2 over n d.

    >>> flambeau.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    dtype = flambeau.get_default_dtype() if dtype is None else dtype
    result = flambeau.arange(n // 2 + 1, dtype=dtype, device=device) * (1.0 / (n * d))
    return deliver(result, out, "fft_rfftfreq").requires_grad_(requires_grad)


def _shifted(input, dim, sign):
    if dim is None:
        dims = list(range(input.dim()))
    else:
        dims = [dim] if isinstance(dim, int) else list(dim)
    if not dims:
        return input.clone()
    halves = [input.size(d) // 2 if sign > 0 else (input.size(d) + 1) // 2 for d in dims]
    return input.roll(halves, dims)


@takes("fft_fftshift(Tensor input, int[1]? dim=None)")
def fft_fftshift(input, dim=None):
    """Moves the frequency zero to the middle, in the dimensions `dim` (by default all).

    >>> flambeau.fft.fftshift(flambeau.fft.fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _shifted(input, dim, 1)


@takes("fft_ifftshift(Tensor input, int[1]? dim=None)")
def fft_ifftshift(input, dim=None):
    """The inverse of `fft.fftshift`.

    >>> flambeau.fft.ifftshift(flambeau.tensor([-2, -1, 0, 1]))
    tensor([ 0,  1, -2, -1])
    """
    return _shifted(input, dim, -1)


# ---- short-time transforms ---------------------------------------------------------------------------------------------


def _window(window, win_length, n_fft, like):
    """The window in the middle of n_fft points."""
    if window is None:
        window = flambeau.ones(win_length, dtype=like.abs().dtype if like.is_complex() else like.dtype)
    left = (n_fft - win_length) // 2
    return flambeau.nn.functional.pad(window, (left, n_fft - win_length - left))


def _lengths(name, n_fft, hop_length, win_length, window):
    win_length = n_fft if win_length is None else win_length
    hop_length = n_fft // 4 if hop_length is None else hop_length
    if hop_length <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop_length}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got win_length={win_length}")
    if window is not None and (window.dim() != 1 or window.size(0) != win_length):
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with size "
            f"{list(window.shape)}"
        )
    return hop_length, win_length


@composite(method=True)
@in_autocast("float32")
def stft(
    input,
    n_fft,
    hop_length=None,
    win_length=None,
    window=None,
    center=True,
    pad_mode="reflect",
    normalized=False,
    onesided=None,
    return_complex=None,
    align_to_window=None,
):
    """Transforms of windows that move along a signal (L) or signals (B, L): (*, frequencies, windows), complex.

    n_fft: points of a window; hop_length: its steps, n_fft // 4 by default. window: weights (win_length), in the middle of
    the n_fft points. center: the signal is padded so that windows are centred on its points. normalized: times
    n_fft ** -0.5. onesided: only n_fft // 2 + 1 frequencies (the default for real signals and windows). return_complex:
    must be given for real signals; False views the result as real numbers. align_to_window: without `center`, the
    windows and not the n_fft points begin with the signal.

    >>> flambeau.stft(flambeau.ones(16), 4, return_complex=True).shape
    torch.Size([3, 17])
    """
    name = "stft"
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(
            f"{name}: expected a tensor of floating point or complex values, got {input.dtype}"
        )
    if not 1 <= input.dim() <= 2:
        raise RuntimeError(f"{name}: expected a 1D or 2D tensor, got shape {list(input.shape)}")
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false.")
    either_complex = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None:
        if not either_complex:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    hop_length, win_length = _lengths(name, n_fft, hop_length, win_length, window)
    batched = input.dim() == 2
    signal = input if batched else input.unsqueeze(0)
    if center:
        half = n_fft // 2
        signal = flambeau.nn.functional.pad(signal.unsqueeze(1), (half, half), pad_mode).squeeze(1)
    elif align_to_window:
        left = (n_fft - win_length) // 2
        signal = flambeau.nn.functional.pad(signal, (left, n_fft - win_length - left))
    length = signal.size(-1)
    if not 0 < n_fft <= length:
        raise RuntimeError(f"{name}: expected 0 < n_fft <= {length}, but got n_fft={n_fft}")
    frames = signal.unfold(-1, n_fft, hop_length)
    if window is not None or win_length < n_fft:
        frames = frames * _window(window, win_length, n_fft, input)
    onesided = not either_complex if onesided is None else onesided
    if onesided and either_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    normalization = _BY_ROOT if normalized else _NONE
    if either_complex:
        result = _c2c(_promoted(frames, True), [2], normalization, True)
    else:
        result = _r2c(_promoted(frames, False), [2], normalization, onesided)
    result = result.transpose(1, 2)
    result = result if batched else result.squeeze(0)
    return result if return_complex else flambeau.view_as_real(result)


@composite(method=True)
@takes(
    "istft(Tensor input, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, "
    "bool center=True, bool normalized=False, bool? onesided=None, int? length=None, "
    "bool return_complex=False)",
)
def istft(
    input,
    n_fft,
    hop_length=None,
    win_length=None,
    window=None,
    center=True,
    normalized=False,
    onesided=None,
    length=None,
    return_complex=False,
):
    """The signal whose `stft` is nearest to `input` (*, frequencies, windows): windows added up where they overlap and
    divided by the sum of their squares (Griffin and Lim, 1984).

    The arguments are those of `stft`. length: of the result, cut off or filled with zeros. return_complex: whether the
    signal is complex.

    >>> x = flambeau.arange(16.0)
    >>> spectrum = flambeau.stft(x, 4, window=flambeau.hann_window(4), return_complex=True)
    >>> flambeau.allclose(flambeau.istft(spectrum, 4, window=flambeau.hann_window(4), length=16), x, atol=1e-5)
    True
    """
    name = "istft"
    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    hop_length, win_length = _lengths(name, n_fft, hop_length, win_length, window)
    if input.numel() == 0:
        raise RuntimeError(f"{name}: input tensor cannot be empty.")
    if input.dim() not in (2, 3):
        raise RuntimeError(f"{name}: expected a tensor with 2 or 3 dimensions, but got {input.dim()}")
    batched = input.dim() == 3
    spectrum = (input if batched else input.unsqueeze(0)).transpose(1, 2)
    windows, frequencies = spectrum.shape[1:]
    onesided = frequencies != n_fft if onesided is None else onesided
    wanted = n_fft // 2 + 1 if onesided else n_fft
    if frequencies != wanted:
        raise RuntimeError(
            f"{name}: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft"
            f"{' / 2 + 1' if onesided else ''} when onesided={onesided}, but got {frequencies}"
        )
    if return_complex and onesided:
        raise RuntimeError(f"{name}: cannot have onesided output if window or input is complex")
    if not return_complex and window is not None and window.is_complex():
        raise RuntimeError(f"{name}: complex windows are incompatible with return_complex=False")
    normalization = _BY_ROOT if normalized else _BY_COUNT
    if return_complex:
        frames = _c2c(spectrum, [2], normalization, False)
    else:
        half = spectrum if onesided else spectrum.narrow(2, 0, n_fft // 2 + 1)
        frames = _c2r(half, [2], normalization, n_fft)
    weights = _window(window, win_length, n_fft, input)
    total = n_fft + hop_length * (windows - 1)
    # Every point of every window goes to its place in the signal.
    places = (flambeau.arange(windows).unsqueeze(1) * hop_length + flambeau.arange(n_fft)).reshape(-1)
    framed = frames * weights
    signal = framed.new_zeros((frames.size(0), total)).index_add(1, places, framed.flatten(1))
    squares = (weights * weights).expand(windows, n_fft).reshape(-1)
    envelope = squares.new_zeros(total).index_add(0, places, squares)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - (n_fft // 2 if center else 0)
    signal, envelope = signal[:, start : min(end, total)], envelope[start : min(end, total)]
    smallest = envelope.abs().min().item() if envelope.numel() else 0.0
    if not smallest > 1e-11:
        raise RuntimeError(
            f"window overlap add min: {smallest:g}: the windows leave points of the signal uncovered"
        )
    signal = signal / envelope
    if end > total:
        import warnings

        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail. "
            "Please check your center and hop_length settings.",
            stacklevel=2,
        )
        signal = flambeau.nn.functional.pad(signal, (0, end - total))
    return signal if batched else signal.squeeze(0)
