"""Calls of operators, and the dtypes that they give inside `autocast`.

A test runs them with flambeau and compares with what PyTorch gave.

`python -m tests.autocast_cases` in an environment with PyTorch writes tests/data/autocast_dtypes.json.
"""

import json
import warnings
from pathlib import Path

GOLDEN = Path(__file__).parent / "data" / "autocast_dtypes.json"
LINALG = (
    "cholesky inv svdvals eigvals eigvalsh matrix_rank cond pinv qr matrix_power matrix_exp eigh svd lstsq solve inv_ex "
    "cholesky_ex tensorinv householder_product"
)


def _decomposition(torch, name, r, q, sq):
    function = getattr(torch.linalg, name)
    if name in ("solve", "lstsq"):
        return function(sq(3), q(3, 1))
    if name == "matrix_power":
        return function(sq(3), 2)
    if name == "tensorinv":
        return function(sq(4).view(2, 2, 2, 2), ind=2)
    if name == "householder_product":
        return function(r(3, 2), q(2))
    if name in ("cholesky", "cholesky_ex"):
        return function((torch.eye(3) * 2).to(r(1).dtype))
    return function(sq(3))


def cases(torch, dt, dt2):
    F = torch.nn.functional

    def r(*sizes):
        return torch.rand(*sizes).add(0.1).to(dt)

    def q(*sizes):
        return torch.rand(*sizes).add(0.1).to(dt2)

    def sq(n):
        return (torch.eye(n) * 3 + torch.rand(n, n) * 0.1).to(dt)

    t = torch.tensor([0, 1])
    yield "conv1d", lambda: F.conv1d(r(1, 2, 8), q(3, 2, 3), q(3))
    yield "conv2d", lambda: F.conv2d(r(1, 2, 8, 8), q(3, 2, 3, 3))
    yield "conv3d", lambda: F.conv3d(r(1, 2, 4, 4, 4), q(3, 2, 3, 3, 3))
    yield "conv_transpose1d", lambda: F.conv_transpose1d(r(1, 2, 8), q(2, 3, 3))
    yield "conv_transpose2d", lambda: F.conv_transpose2d(r(1, 2, 8, 8), q(2, 3, 3, 3))
    yield "conv_transpose3d", lambda: F.conv_transpose3d(r(1, 2, 4, 4, 4), q(2, 3, 3, 3, 3))
    yield "conv_tbc", lambda: torch.conv_tbc(r(5, 2, 3), q(3, 3, 4), q(4))
    yield "mm", lambda: torch.mm(r(2, 3), q(3, 2))
    yield "matmul", lambda: r(2, 3) @ q(3, 2)
    yield "matmul1", lambda: r(3) @ q(3)
    yield "matmulmv", lambda: r(2, 3) @ q(3)
    yield "matmulb", lambda: r(4, 2, 3) @ q(3, 2)
    yield "bmm", lambda: torch.bmm(r(2, 2, 3), q(2, 3, 2))
    yield "mv", lambda: torch.mv(r(2, 3), q(3))
    yield "dot", lambda: torch.dot(r(3), q(3))
    yield "addmm", lambda: torch.addmm(r(2, 2), q(2, 3), q(3, 2))
    yield "addbmm", lambda: torch.addbmm(r(2, 2), q(2, 2, 3), q(2, 3, 2))
    yield "baddbmm", lambda: torch.baddbmm(r(2, 2, 2), q(2, 2, 3), q(2, 3, 2))
    yield "addmv", lambda: torch.addmv(r(2), q(2, 3), q(3))
    yield "addr", lambda: torch.addr(r(2, 3), q(2), q(3))
    yield "outer", lambda: torch.outer(r(2), q(3))
    yield "einsum", lambda: torch.einsum("ij,jk->ik", r(2, 3), q(3, 2))
    yield "tensordot", lambda: torch.tensordot(r(2, 3), q(3, 2), dims=1)
    yield "linear", lambda: F.linear(r(2, 3), q(4, 3), q(4))
    yield "bilinear", lambda: F.bilinear(r(2, 3), q(2, 3), q(4, 3, 3))
    yield "vecdot", lambda: torch.linalg.vecdot(r(2, 3), q(2, 3))
    yield "multi_dot", lambda: torch.linalg.multi_dot([r(2, 3), q(3, 2), q(2, 2)])
    yield "chain_matmul", lambda: torch.chain_matmul(r(2, 3), q(3, 2), q(2, 2))
    yield "prelu", lambda: F.prelu(r(2, 3), q(3))
    yield "sdpa", lambda: F.scaled_dot_product_attention(r(1, 2, 4, 8), q(1, 2, 4, 8), q(1, 2, 4, 8))
    yield "mha", lambda: torch.nn.MultiheadAttention(8, 2, batch_first=True)(*(r(1, 4, 8),) * 3)[0]
    yield "lstm", lambda: torch.nn.LSTM(3, 4)(r(2, 1, 3))[0]
    yield "gru", lambda: torch.nn.GRU(3, 4)(r(2, 1, 3))[0]
    yield "lstmcell", lambda: torch.nn.LSTMCell(3, 4)(r(2, 3))[0]
    yield "rnn", lambda: torch.nn.RNN(3, 4)(r(2, 1, 3))[0]
    yield "add", lambda: r(2) + q(2)
    yield "mul", lambda: r(2) * q(2)
    yield "exp", lambda: r(2).exp()
    yield "log", lambda: r(2).log()
    yield "pow", lambda: r(2) ** 2
    yield "sum", lambda: r(2, 3).sum()
    yield "mean", lambda: r(2, 3).mean()
    yield "prod", lambda: r(2, 3).prod()
    yield "prod_dim", lambda: r(2, 3).prod(0)
    yield "cumsum", lambda: r(2, 3).cumsum(0)
    yield "cumprod", lambda: r(2, 3).cumprod(0)
    yield "norm", lambda: r(2, 3).norm()
    yield "vector_norm", lambda: torch.linalg.vector_norm(r(2, 3))
    yield "matrix_norm", lambda: torch.linalg.matrix_norm(r(2, 3))
    yield "var", lambda: r(2, 3).var()
    yield "std", lambda: r(2, 3).std()
    yield "trace", lambda: r(3, 3).trace()
    yield "dist", lambda: torch.dist(r(3), q(3))
    yield "renorm", lambda: torch.renorm(r(3, 3), 2, 0, 1.0)
    yield "logsumexp", lambda: r(2, 3).logsumexp(0)
    yield "softmax", lambda: r(2, 3).softmax(0)
    yield "log_softmax", lambda: r(2, 3).log_softmax(0)
    yield "gelu", lambda: F.gelu(r(3))
    yield "silu", lambda: F.silu(r(3))
    yield "sigmoid", lambda: r(3).sigmoid()
    yield "tanh", lambda: r(3).tanh()
    yield "softplus", lambda: F.softplus(r(3))
    yield "relu", lambda: F.relu(r(3))
    yield "layer_norm", lambda: F.layer_norm(r(2, 3), (3,), q(3), q(3))
    yield "layer_norm0", lambda: F.layer_norm(r(2, 3), (3,))
    yield "rms_norm", lambda: F.rms_norm(r(2, 3), (3,))
    yield "group_norm", lambda: F.group_norm(r(2, 4, 3), 2)
    yield "batch_norm", lambda: F.batch_norm(r(4, 3), torch.zeros(3), torch.ones(3), training=True)
    yield "instance_norm", lambda: F.instance_norm(r(2, 4, 5))
    yield "normalize", lambda: F.normalize(r(2, 3))
    yield "cosine_similarity", lambda: F.cosine_similarity(r(2, 3), q(2, 3))
    yield "pairwise_distance", lambda: F.pairwise_distance(r(2, 3), q(2, 3))
    yield "cdist", lambda: torch.cdist(r(2, 3), q(4, 3))
    yield "pdist", lambda: F.pdist(r(4, 3))
    yield "avg_pool1d", lambda: F.avg_pool1d(r(1, 2, 8), 2)
    yield "avg_pool2d", lambda: F.avg_pool2d(r(1, 2, 8, 8), 2)
    yield "avg_pool3d", lambda: F.avg_pool3d(r(1, 2, 4, 4, 4), 2)
    yield "adaptive_avg_pool1d", lambda: F.adaptive_avg_pool1d(r(1, 2, 8), 2)
    yield "adaptive_avg_pool2d", lambda: F.adaptive_avg_pool2d(r(1, 2, 8, 8), 2)
    yield "adaptive_avg_pool3d", lambda: F.adaptive_avg_pool3d(r(1, 2, 4, 4, 4), 2)
    yield "max_pool2d", lambda: F.max_pool2d(r(1, 2, 8, 8), 2)
    yield "max_pool3d", lambda: F.max_pool3d(r(1, 2, 4, 4, 4), 2)
    yield "adaptive_max_pool2d", lambda: F.adaptive_max_pool2d(r(1, 2, 8, 8), 2)
    yield "adaptive_max_pool3d", lambda: F.adaptive_max_pool3d(r(1, 2, 4, 4, 4), 2)
    yield "max_unpool2d", lambda: F.max_unpool2d(r(1, 1, 2, 2), torch.tensor([[[[0, 2], [8, 10]]]]), 2)
    yield (
        "fractional_max_pool2d",
        lambda: F.fractional_max_pool2d(r(1, 2, 8, 8), 2, output_size=4, _random_samples=r(1, 2, 2)),
    )
    yield "interpolate_bilinear", lambda: F.interpolate(r(1, 2, 4, 4), scale_factor=2, mode="bilinear")
    yield "interpolate_nearest", lambda: F.interpolate(r(1, 2, 4, 4), scale_factor=2)
    yield "interpolate_bicubic", lambda: F.interpolate(r(1, 2, 4, 4), scale_factor=2, mode="bicubic")
    yield "interpolate_trilinear", lambda: F.interpolate(r(1, 2, 4, 4, 4), scale_factor=2, mode="trilinear")
    yield "interpolate_linear", lambda: F.interpolate(r(1, 2, 4), scale_factor=2, mode="linear")
    yield "grid_sample", lambda: F.grid_sample(r(1, 2, 4, 4), q(1, 3, 3, 2))
    yield "affine_grid", lambda: F.affine_grid(r(1, 2, 3), (1, 2, 3, 3))
    yield "pad_reflect1", lambda: F.pad(r(1, 2, 4), (1, 1), mode="reflect")
    yield "pad_reflect2", lambda: F.pad(r(1, 2, 4, 4), (1, 1, 1, 1), mode="reflect")
    yield "pad_replicate1", lambda: F.pad(r(1, 2, 4), (1, 1), mode="replicate")
    yield "pad_replicate3", lambda: F.pad(r(1, 2, 4, 4, 4), (1,) * 6, mode="replicate")
    yield "pad_circular", lambda: F.pad(r(1, 2, 4), (1, 1), mode="circular")
    yield "pad_constant", lambda: F.pad(r(1, 2, 4), (1, 1))
    yield "mse_loss", lambda: F.mse_loss(r(2, 3), q(2, 3))
    yield "l1_loss", lambda: F.l1_loss(r(2, 3), q(2, 3))
    yield "smooth_l1_loss", lambda: F.smooth_l1_loss(r(2, 3), q(2, 3))
    yield "huber_loss", lambda: F.huber_loss(r(2, 3), q(2, 3))
    yield "cross_entropy", lambda: F.cross_entropy(r(2, 3), t)
    yield "cross_entropy_p", lambda: F.cross_entropy(r(2, 3), q(2, 3))
    yield "nll_loss", lambda: F.nll_loss(r(2, 3).log(), t)
    yield "nll_loss2d", lambda: F.nll_loss(r(1, 3, 2, 2).log(), torch.zeros(1, 2, 2).long())
    yield "bce", lambda: F.binary_cross_entropy(r(2, 3).clamp(max=0.9), q(2, 3).clamp(max=0.9))
    yield "bce_logits", lambda: F.binary_cross_entropy_with_logits(r(2, 3), q(2, 3))
    yield "kl_div", lambda: F.kl_div(r(2, 3).log(), q(2, 3))
    yield "poisson_nll", lambda: F.poisson_nll_loss(r(2, 3), q(2, 3))
    yield "gaussian_nll", lambda: F.gaussian_nll_loss(r(2, 3), q(2, 3), q(2, 3))
    yield "hinge", lambda: F.hinge_embedding_loss(r(2, 3), torch.ones(2, 3))
    yield "cosine_embedding", lambda: F.cosine_embedding_loss(r(2, 3), q(2, 3), torch.ones(2))
    yield "margin_ranking", lambda: F.margin_ranking_loss(r(2), q(2), torch.ones(2))
    yield "triplet", lambda: F.triplet_margin_loss(r(2, 3), q(2, 3), q(2, 3))
    yield "soft_margin", lambda: F.soft_margin_loss(r(2, 3), torch.ones(2, 3))
    yield "multi_margin", lambda: F.multi_margin_loss(r(2, 3), t)
    yield (
        "multilabel_margin",
        lambda: F.multilabel_margin_loss(r(2, 3), torch.tensor([[0, -1, 1], [1, 2, -1]])),
    )
    yield "multilabel_soft", lambda: F.multilabel_soft_margin_loss(r(2, 3), torch.ones(2, 3))
    yield (
        "ctc",
        lambda: F.ctc_loss(
            r(5, 1, 4).log_softmax(-1), torch.tensor([[1, 2]]), torch.tensor([5]), torch.tensor([2])
        ),
    )
    yield "polar", lambda: torch.polar(r(2), q(2))
    yield "view_as_complex", lambda: torch.view_as_complex(r(3, 2))
    yield "quantile", lambda: torch.quantile(r(5), 0.5)
    yield "nanquantile", lambda: torch.nanquantile(r(5), 0.5)
    yield "stft", lambda: torch.stft(r(64), 16, return_complex=True, window=torch.ones(16))
    yield "fft", lambda: torch.fft.fft(r(8))
    yield "rfft", lambda: torch.fft.rfft(r(8))
    yield "irfft", lambda: torch.fft.irfft(torch.fft.rfft(torch.rand(8)))
    for name in LINALG.split():
        yield f"linalg.{name}", lambda name=name: _decomposition(torch, name, r, q, sq)
    yield "inverse", lambda: torch.inverse(sq(3))
    yield "pinverse", lambda: torch.pinverse(sq(3))
    yield "cholesky_inverse", lambda: torch.cholesky_inverse(sq(3))
    yield "cholesky_solve", lambda: torch.cholesky_solve(r(3, 1), sq(3))
    yield "lu_solve", lambda: torch.lu_solve(r(3, 1), sq(3), torch.tensor([1, 2, 3], dtype=torch.int32))
    yield "triangular_solve", lambda: torch.triangular_solve(r(3, 1), sq(3))
    yield "qr", lambda: torch.qr(sq(3))
    yield "svd", lambda: torch.svd(sq(3))
    yield "geqrf", lambda: torch.geqrf(sq(3))
    yield "orgqr", lambda: torch.orgqr(r(3, 2), q(2))
    yield "ormqr", lambda: torch.ormqr(r(3, 2), q(2), q(3, 3))
    yield "cat", lambda: torch.cat([r(2), q(2)])
    yield "stack", lambda: torch.stack([r(2), q(2)])
    yield "vstack", lambda: torch.vstack([r(2), q(2)])
    yield "index_copy", lambda: r(3).index_copy(0, torch.tensor([0]), q(1))
    yield "where", lambda: torch.where(torch.tensor(True), r(2), q(2))
    yield "addcmul", lambda: torch.addcmul(r(2), q(2), q(2))
    yield "addcdiv", lambda: torch.addcdiv(r(2), q(2), q(2))
    yield "cross", lambda: torch.linalg.cross(r(3), q(3))
    yield "atan2", lambda: torch.atan2(r(3), q(3))
    yield "embedding", lambda: F.embedding(t, r(3, 4))
    yield "cov", lambda: torch.cov(r(3, 4))
    yield "corrcoef", lambda: torch.corrcoef(r(3, 4))
    yield "kron", lambda: torch.kron(r(2, 2), q(2, 2))
    yield "logcumsumexp", lambda: r(3).logcumsumexp(0)
    yield "unfold", lambda: F.unfold(r(1, 2, 4, 4), 2)
    yield "pixel_shuffle", lambda: F.pixel_shuffle(r(1, 4, 2, 2), 2)
    yield "glu", lambda: F.glu(r(4))
    yield "local_response_norm", lambda: F.local_response_norm(r(1, 4, 4), 2)
    yield "scatter_add", lambda: r(3).scatter_add(0, torch.tensor([0]), q(1))
    yield "index_add", lambda: r(3).index_add(0, torch.tensor([0]), q(1))
    yield "tril", lambda: r(3, 3).tril()
    yield "mm_out", lambda: torch.mm(r(2, 3), q(3, 2), out=torch.empty(2, 2))
    yield "addmm_", lambda: r(2, 2).addmm_(q(2, 3), q(3, 2))


def shown(result) -> str:
    if isinstance(result, (tuple, list)):
        return ",".join(map(shown, result))
    return str(result.dtype).removeprefix("torch.")


def observe(torch) -> dict[str, str]:
    """{"operator|autocast's dtype|first operands' dtype|others' dtype": dtypes of the results, or "error"}."""
    found = {}
    for low in (torch.bfloat16, torch.float16):
        pairs = (
            (torch.float32, torch.float32), (low, low), (torch.float32, low), (low, torch.float32),
            (torch.float64, torch.float64), (torch.float64, torch.float32),
        )  # fmt: skip
        for first, second in pairs:
            for name, call in cases(torch, first, second):
                with torch.autocast("cpu", dtype=low):
                    try:
                        result = shown(call())
                    except (RuntimeError, NotImplementedError):
                        result = "error"
                dtypes = (str(each).removeprefix("torch.") for each in (low, first, second))
                found["|".join((name, *dtypes))] = result
    return found


if __name__ == "__main__":
    import torch

    warnings.simplefilter("ignore")
    if hasattr(torch, "install_as_torch"):
        raise SystemExit("the golden file is what PyTorch does: run this in an environment with PyTorch")
    GOLDEN.write_text(json.dumps(observe(torch), indent=0, sort_keys=True) + "\n")
