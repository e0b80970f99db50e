"""What is asked of float8 and of the dtypes that are bytes to everybody: expressions, evaluated in PyTorch and in flambeau.

`make_float8.py` writes PyTorch's outcomes to `float8.json`; `tests/test_float8.py` expects the same ones.
"""

import hashlib
import warnings

FLOAT8 = "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu".split()
BYTES = "float4_e2m1fn_x2 bits8 bits16 uint4 int4".split()
OTHERS = "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64".split()

# v, w: vectors; m, k: matrices; b: a batch; q: an image; s: one number without dimensions; z: nothing. d: the dtype.
EXPRESSIONS = """
v.clone() | m.t().contiguous() | m.t().clone() | q.contiguous(memory_format=T.channels_last) | v.detach()
m[1] | m[:, 1] | m[::2, 1:] | v[i] | m[i, i] | v[v == v[0]] | m[i] | v[mask] | v[None] | m[..., 0]
m.flatten() | m.reshape(9) | m.view(1, 9) | m.T | v.expand(2, 6) | T.cat([v, w]) | T.cat([m, k], 1)
T.stack([v, w]) | T.stack([m, k], 2) | T.hstack([v, w]) | T.vstack([m, k]) | T.block_diag(m, k)
T.cat([v, fv]) | T.cat([v, iv]) | T.where(mask, v, w) | T.where(mask, v, 1.0) | T.where(mask, 1.03, v)
T.where(mask, v, fv) | T.where(mask, v, fv[0]) | v.where(mask, w) | T.where(mask, v, 1e9)
v.masked_select(mask) | v.masked_fill(mask, 1.0) | v.index_select(0, i) | m.index_select(1, i)
T.roll(v, 2) | T.roll(m, 1, 0) | v.repeat(2) | m.repeat(2, 1) | v.repeat_interleave(2) | T.tile(v, (2, 2))
v.flip(0) | m.flip(0) | m.flip(0, 1) | T.tril(m) | m.diagonal() | T.diag(v) | T.diag(m) | T.diag_embed(v)
m.gather(0, im) | m.scatter(0, im, k) | m.take(i) | v.index_fill(0, i, 1.0) | v.index_add(0, i, v[:3])
v.index_copy(0, i, v[:3]) | v.put(i, v[:3]) | v.masked_scatter(mask, w) | put(v, (i,), w[:3])
put(v, (i,), w[:3], True) | setitem(v, 0, 1.0) | setitem(v, i, w[:3]) | setitem(v, mask, 1.0)
setitem(m, (slice(None), 0), 1) | setitem(v, 0, 1e9) | setitem(v, slice(0, 2), fv[:2])
setitem(v, slice(0, 2), 1e9) | setitem(v, i, 1e9) | setitem(v, mask, w[:1])
setitem(m, (mask[:3], mask[:3]), 1.0) | put(v, (mask,), w[0]) | put(v, (mask,), w[0], True)
T.nn.functional.pad(m, (1, 1)) | T.nn.functional.pad(m, (1, 0), value=2.0)
T.nn.functional.pad(m, (1, 1), mode="reflect") | T.embedding(m, i) | v.unfold(0, 2, 1) | m.unbind()
v.split(2) | v.chunk(4) | m.permute(1, 0) | m.swapaxes(0, 1) | v.unsqueeze(1) | v[None].squeeze()
v.to(T.float32) | v.to(T.float16) | v.bfloat16() | v.double() | v.int() | v.bool() | v.to(T.complex64)
v.type(T.float32) | fv.to(d) | fv.type(d) | iv.to(d) | mask.to(d) | fv.double().to(d)
fv.to(T.complex64).to(d) | v.to(T.float8_e5m2) | v.to(T.float8_e4m3fnuz) | v.type_as(fv) | fv.type_as(v)
v.clone().copy_(fv) | v.clone().copy_(1000.0 * fv) | fv.clone().copy_(v) | v.clone().fill_(1.5)
v.clone().fill_(1e9) | v.clone().fill_(0) | v.clone().fill_(float("inf")) | v.clone().fill_(float("nan"))
v.clone().zero_() | v.clone().fill_(fv[1]) | v.clone().fill_(-3) | v[:1].clone().fill_(1e9)
T.full((1,), 1e9, dtype=d) | v[:0].sum() | v.view(T.uint8) | v.view(T.int8) | v.view(T.int16)
v.view(T.float16) | fv.view(d) | v.view(T.bits8).view(T.uint8) | m.view(T.int32) | T.zeros(3, dtype=d)
T.ones(3, dtype=d) | T.full((3,), 2.03, dtype=d) | T.full((3,), 1e9, dtype=d) | T.eye(3, dtype=d)
T.eye(2, 4, dtype=d) | T.tensor([1, 2.5, 1000.0], dtype=d) | T.tensor(3, dtype=d)
T.tensor([True], dtype=d) | T.tensor([v[0], v[1]]) | T.tensor([v[0], 1.0]) | T.scalar_tensor(2, dtype=d)
T.arange(5, dtype=d) | T.linspace(0, 1, 5, dtype=d) | T.logspace(0, 1, 5, dtype=d) | T.range(0, 4, dtype=d)
T.rand(3, dtype=d) | T.randn(3, dtype=d) | T.randint(3, (3,), dtype=d) | T.randperm(3, dtype=d)
T.tril_indices(3, 3, dtype=d) | T.zeros_like(v) | T.ones_like(v) | T.full_like(v, 2) | T.rand_like(v)
T.zeros_like(v, dtype=T.float32) | v.new_zeros(2) | v.new_ones(2) | v.new_full((2,), 4)
v.new_tensor([1.0, 2.0]) | T.as_tensor(v) | T.asarray([1.0], dtype=d) | v == w | v != w | v == v | v == 1
v == 1.03 | v == 1e9 | v == fv | v == fv[0] | v == iv[1] | v == 1j | v < w | v >= 1 | T.equal(v, w)
T.equal(v, v.clone()) | T.isnan(v) | T.isinf(v) | T.isfinite(v) | v.isreal() | v.any() | v.all() | m.any(0)
m.all(1, keepdim=True) | T.count_nonzero(v) | T.count_nonzero(m, 0) | T.isin(v, 1) | v.nonzero()
v.logical_not() | T.allclose(v, w) | v.is_floating_point() | v.is_complex() | v.is_signed()
v.element_size() | v + w | v - w | v * w | v / w | v // w | v % w | v + 1 | v * 2 | 2 * v | v * 2.0
T.mul(2, v) | v * s | s * v | s * s | v * v[:1] | v[:1] * v | v + fv | v * fv | v * fv[0] | v + 1j | v & w
v.clone().add_(1) | v.clone().mul_(w) | -v | abs(v) | ~v | v ** 0 | v ** 1 | v ** 2 | v ** 1.0 | v ** w
v.pow(0.0) | fv * s | fv + s | iv * s | T.float_power(v, 2) | T.maximum(v, w) | T.clamp(v, 0)
v.clamp(0, 1) | T.lerp(v, w, 0.5) | T.addcmul(v, v, w) | T.addcdiv(v, v, w) | v.exp() | v.sign() | v.sqrt()
v.reciprocal() | v.round() | v.floor() | v.sin() | T.sigmoid(v) | v.relu() | T.nn.functional.gelu(v)
v.square() | v.neg_() | v.nan_to_num() | v.conj() | v.conj_physical() | v.positive() | v.real | T.frexp(v)
T.signbit(v) | T.copysign(v, w) | T.nextafter(v, w) | T.heaviside(v, w) | v.sum() | v.sum(dtype=T.float32)
m.sum(0, dtype=T.float64) | v.sum(dtype=T.int64) | v.sum(dtype=d) | fv.sum(dtype=d) | v.mean()
v.mean(dtype=T.float32) | v.prod() | v.prod(dtype=T.float32) | v.nansum(dtype=T.float32) | v.cumsum(0)
v.cumsum(0, dtype=T.float32) | v.max() | v.min(0) | v.argmax() | v.amax() | v.std() | v.var() | m.std(0)
m.var(1)
v.norm()
v.median() | v.mode() | v.sort() | v.topk(1) | v.kthvalue(1) | v.unique() | T.histc(v) | T.bincount(iv, v)
T.searchsorted(v, w) | T.cdist(m, k) | v.logsumexp(0) | m @ k | T.mm(m, k) | m @ m.t() | v[:3] @ m
m @ v[:3] | v @ w | b @ m | b @ b | T.bmm(b, b) | T.mv(m, v[:3]) | T.dot(v, w) | T.addmm(k, m, m)
T.addmm(v[:3], m, k) | T.addmm(k, m, m, beta=0.5, alpha=2) | k.clone().addmm_(m, m) | T.mm(m, fm)
T.addmm(fm, m, k) | T.mm(m, k, out=T.empty(3, 3)) | T.mm(m, k, out=T.empty(3, 3, dtype=d))
T.nn.functional.linear(m, k) | T.nn.functional.linear(m, k, v[:3]) | T.nn.functional.linear(b, k, v[:3])
T.nn.functional.linear(v[:3], k) | T.outer(v, w) | T.kron(m, k) | T.det(m) | T.linalg.matrix_power(m, 1)
T.baddbmm(b, b, b) | T.einsum("ij,jk", m, k) | T.tensordot(m, k, 1) | T.softmax(m, 0)
T.softmax(m, 0, dtype=T.float32).dtype | T.nn.functional.conv1d(b, b) | T.nn.functional.max_pool2d(q, 2)
T.nn.functional.avg_pool2d(q, 2) | T.nn.functional.layer_norm(v, (6,))
T.nn.functional.interpolate(q, scale_factor=2) | T.pixel_shuffle(q[:, :1].expand(1, 4, 4, 4), 2)
T.pixel_unshuffle(q, 2) | T.channel_shuffle(q, 2)
T.tensordot(m, k, 2) | T.inner(v, w) | T.inner(m, k) | T.ldexp(v, iv) | v.to_sparse() | v.to_sparse(1)
T.nn.functional.mse_loss(v, w)
T.nn.functional.cross_entropy(m, i) | T.nn.functional.dropout(v, 0.5) | T.fft.fft(v) | T.polar(v, w)
T.complex(v, w) | T.view_as_complex(m[:, :2]) | s.item() | float(s) | int(s) | bool(s) | complex(s)
v.tolist() | m.tolist() | repr(v) | repr(m) | repr(s) | repr(z) | f"{s}" | f"{s:.2f}" | str(v.dtype)
v.type() | v.numpy() | v[:0].tolist() | T.promote_types(d, T.float32) | T.promote_types(T.int64, d)
T.promote_types(d, d) | T.promote_types(d, T.bits8) | T.result_type(v, 1.0) | T.result_type(v, 1j)
T.result_type(v, fv[0]) | T.can_cast(d, T.float32) | T.can_cast(T.float32, d) | T.can_cast(d, T.int8)
T.can_cast(d, T.bool) | d.itemsize | d.is_floating_point | d.is_complex | d.is_signed | d.to_real()
d.to_complex() | repr(T.finfo(d)) | T.finfo(d).bits | T.iinfo(d) | T.set_default_dtype(d)
T.nn.Linear(3, 3).to(d).weight.dtype | T.nn.Linear(3, 3, dtype=d) | v.requires_grad_().requires_grad
grad_of(fv, lambda x: x.to(d).float().sum()) | grad_of(v.clone(), lambda x: x.float().sum())
grad_of(v.clone(), lambda x: x[1:].float().sum()) | T._scaled_mm(m, k.t(), one, half)
T._scaled_mm(m, k, one, half, out_dtype=T.float32)
T._scaled_mm(m, k, one, half, bias=fv[:3], out_dtype=T.bfloat16)
T._scaled_mm(m, k, one, half, scale_result=half)
T._scaled_mm(m, k, one, half, scale_result=half, out_dtype=T.float32)
T._scaled_mm(m, k, one, half, scale_result=half, out_dtype=d)
T._scaled_mm(m, k, one, half, out=T.empty(3, 3)) | T._scaled_mm(m, k, one, fv)
T._scaled_mm(m, fm, one, half) | T._scaled_mm(m, k, fm[:, :1], fm[:1], out_dtype=T.float32)
T._scaled_mm(m, k[:2], one, half) | T._scaled_mm(v, k, one, half) | T._scaled_mm(m, k, one, half, bias=fv)
T._scaled_mm_v2(m, k, [one[None]], [0], [0], [half[None]], [0], [0], None, T.float32)
T._scaled_mm_v2(m, k, [fm[:, :1]], [1], [0], [fm[:1]], [1], [0], None, T.float32)
T._scaled_mm_v2(m, k, [one[None]], [1], [0], [half[None]], [1], [0], None, T.float32)
T._scaled_mm_v2(m, k, [one[None]], [0], [1], [half[None]], [0], [0], None, T.float32)
""".replace("\n", " | ").split(" | ")
EXPRESSIONS = [text.strip() for text in EXPRESSIONS if text.strip()]

BYTE_EXPRESSIONS = """
v.view(T.uint8) | m.t().view(T.uint8) | v[1:3].view(T.uint8) | m.flatten().view(T.uint8)
m[0].view(T.uint8) | T.zeros(3, dtype=d).view(T.uint8) | T.ones(3, dtype=d)
T.eye(2, dtype=d) | T.empty(3, dtype=d).shape
v.to(T.float32) | fv.to(d) | v.clone().fill_(1) | v + v | v * v | v == 1 | v.sum() | v @ v | -v | v.exp()
T.full((2,), 2, dtype=d) | v[0].item() | T.promote_types(d, d) | T.promote_types(d, T.bits8)
T.can_cast(T.complex64, d) | T.can_cast(d, T.bool) | d.itemsize | d.is_floating_point | d.is_complex
d.is_signed | d.to_real() | d.to_complex() | str(d) | repr(v) | repr(m) | repr(v[0]) | repr(v[:0])
v.type() | v.numpy() | T.iinfo(d)
T.set_default_dtype(d) | T.arange(3, dtype=d) | v.is_floating_point()
""".replace("\n", " | ").split(" | ")
BYTE_EXPRESSIONS = [text.strip() for text in BYTE_EXPRESSIONS if text.strip()]


def names(T, name):
    """The tensors that the expressions are about, and helpers."""
    d = getattr(T, name)

    def codes(*shape, start=40):
        count = d.itemsize
        for size in shape:
            count *= size
        data = [(start + 7 * i) % 60 + 30 + 128 * (i % 3 == 1) for i in range(count)]
        if name == "float8_e8m0fnu":  # around one
            data = [120 + i % 128 % 13 for i in data]
        return T.tensor(data, dtype=T.uint8).view(d).reshape(shape)

    def put(t, index, values, accumulate=False):
        return t.clone().index_put_(index, values, accumulate)

    def setitem(t, index, value):
        t = t.clone()
        t[index] = value
        return t

    def grad_of(x, function):
        x.requires_grad_()
        function(x).backward()
        return x.grad

    return {
        "T": T,
        "d": d,
        "v": codes(6),
        "w": codes(6, start=47),
        "m": codes(3, 3),
        "k": codes(3, 3, start=61),
        "b": codes(2, 3, 3),
        "q": codes(1, 2, 4, 4),
        "s": codes(1).reshape(()),
        "z": codes(1)[:0],
        "fv": T.tensor([0.5, 1, 2, -1, 3, 4.03]),
        "iv": T.tensor([0, 1, 2, 3, 4, 5]),
        "fm": T.full((3, 3), 0.75),
        "i": T.tensor([0, 2, 1]),
        "im": T.tensor([[0, 1, 2], [2, 1, 0], [1, 1, 1]]),
        "mask": T.tensor([True, False, True, True, False, False]),
        "one": T.tensor(1.25),
        "half": T.tensor(0.5),
        "put": put,
        "setitem": setitem,
        "grad_of": grad_of,
    }


def shown(T, value):
    if isinstance(value, T.Tensor):
        name = str(value.dtype).removeprefix("torch.")
        data = value.detach().contiguous().reshape(-1).view(T.uint8).tolist() if value.numel() else []
        return f"{name} {list(value.shape)} {list(value.stride())} {bytes(data).hex()}"
    if isinstance(value, (tuple, list)) and any(isinstance(x, T.Tensor) for x in value):
        return [shown(T, x) for x in value]
    return repr(value)


def outcome(T, name, text):
    """What becomes of an expression: its value as text, or the type of its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return shown(T, eval(text, names(T, name)))
        except Exception as error:
            return type(error).__name__


def float32_samples(T):
    """A tensor of every upper half of a float32 with lower halves that decide how it is rounded."""
    upper = T.arange(65536, dtype=T.int64) * 65536
    bits = T.cat([upper + low for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1234)])
    return T.where(bits >= 2**31, bits - 2**32, bits).to(T.int32).view(T.float32)


def digest(T, tensor):
    """Of the bytes; NaN counts as one pattern, except in float8."""
    if not str(tensor.dtype).startswith("torch.float8") and tensor.is_floating_point():
        tensor = T.where(tensor.isnan(), T.full((), float("nan"), dtype=tensor.dtype), tensor)
    return hashlib.sha256(bytes(tensor.contiguous().reshape(-1).view(T.uint8).tolist())).hexdigest()[:16]


def decoded(T, name):
    """What every code stands for, as the bits of a float32."""
    return T.arange(256, dtype=T.uint8).view(getattr(T, name)).float().view(T.int32).tolist()


def conversions(T, name):
    """Digests of conversions, both ways: {what: digest}."""
    d, found = getattr(T, name), {}
    samples, codes = float32_samples(T), T.arange(256, dtype=T.uint8).view(d)
    found["from float32"] = digest(T, samples.to(d))
    found["from float32, by steps"] = digest(T, T.stack([samples, -samples], 1)[:, 0].to(d))
    found["from float64"] = digest(T, (samples.double() * 1.0000001).to(d))
    found["from complex64"] = digest(T, samples.to(T.complex64).to(d))
    for other in ("float16", "bfloat16"):
        every = T.arange(65536, dtype=T.int64)
        every = T.where(every >= 32768, every - 65536, every).to(T.int16).view(getattr(T, other))
        found[f"from {other}"] = digest(T, every.to(d))
    for other in ("bool", "uint8", "int8", "int16", "int32", "int64"):
        found[f"from {other}"] = digest(T, (T.arange(-700, 700) ** 3).to(getattr(T, other)).to(d))
    finite = T.where(codes.float().isnan(), T.zeros(()), codes.float()).to(d)
    for other in OTHERS:
        source = codes if other.startswith("float") or other in ("bool", "bfloat16") else finite
        found[f"to {other}"] = digest(T, source.to(getattr(T, other)))
    for other in FLOAT8:
        found[f"to {other}"] = digest(T, codes.to(getattr(T, other)))
    return found
