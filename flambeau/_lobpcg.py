"""A few eigenvalues of large symmetric matrices, of which only products are needed.

Knyazev, Toward the optimal preconditioned eigensolver: locally optimal block preconditioned conjugate gradient method
(2001): the approximation, the preconditioned residual and the last step span a small space, in which the best vectors are
found. The basis of that space is made orthonormal by way of its Gram matrix, without the directions that are noise.
"""

import math

import flambeau

from ._ops.linalg import _h
from .autograd.function import Function

__all__ = ["LOBPCG", "lobpcg"]

_MOST_STEPS = 1000


class LOBPCG:
    """The state of an iteration, which `lobpcg` shows to its `tracker` after each step.

    `E`, `X`, `R`, `S`: eigenvalues, vectors, residuals, and the space of the last step. ``ivars["istep"]``,
    ``ivars["converged_count"]``, ``tvars["rerr"]``: the step, how many pairs have converged, and the figure that says so.
    A tracker that sets ``bvars["force_stop"]`` ends the iteration.
    """

    def __init__(self, A, B, X, iK, k, niter, tol, largest, tracker):
        self.A, self.B, self.iK, self.tracker = A, B, iK, tracker
        m, n = X.shape
        self.iparams = {"m": m, "n": n, "k": k, "niter": niter}
        self.fparams, self.bparams = {"tol": tol}, {"largest": largest}
        self.ivars = {"istep": 0, "iterations_left": niter, "converged_count": 0}
        self.fvars, self.bvars, self.tvars = {}, {"force_stop": False}, {}
        self.X, self.S = X, X
        self.E = X.new_zeros(n)
        self.R = flambeau.zeros_like(X)

    def _times_B(self, X):
        return X if self.B is None else self.B @ X

    def _best_in(self, S, n):
        """The `n` best vectors in the space of S, as their coefficients, and their eigenvalues."""
        S_B = self._times_B(S)
        lengths = (S * S_B).sum(0).clamp(min=0).sqrt()
        scale = flambeau.where(lengths > 0, 1 / lengths, 0.0)
        values, vectors = flambeau.linalg.eigh(_h(S * scale) @ (S_B * scale))
        kept = values > values.max() * S.size(1) * flambeau.finfo(S.dtype).eps
        basis = scale.unsqueeze(1) * (vectors[:, kept] / values[kept].sqrt())
        Q = S @ basis
        inner = _h(Q) @ (self.A @ Q)
        values, vectors = flambeau.linalg.eigh(0.5 * (inner + _h(inner)))
        if self.bparams["largest"]:
            values, vectors = values.flip(0), vectors.flip(1)
        return values[:n], basis @ vectors[:, :n]

    def run(self):
        """Iterate until the first k pairs have converged, or the steps are used up."""
        n, k = self.iparams["n"], self.iparams["k"]
        probe = flambeau.randn_like(self.X)
        size = float(probe.norm())
        self.fvars["A_norm"] = float((self.A @ probe).norm()) / size
        self.fvars["B_norm"] = float(self._times_B(probe).norm()) / size
        step = None
        self._improve(self.X, n)
        while not self._through(k):
            W = self.R if self.iK is None else self.iK @ self.R
            space = [self.X, W] if step is None else [self.X, W, step]
            coefficients = self._improve(flambeau.cat(space, 1), n)
            # What the step adds to the vectors; in exact arithmetic it spans the same space as the vectors before.
            step = self.S[:, n:] @ coefficients[n:]
        return self.E[:k], self.X[:, :k]

    def _improve(self, S, n):
        self.S = S
        self.E, coefficients = self._best_in(S, n)
        if coefficients.size(1) < n:
            raise RuntimeError(f"lobpcg: the {n} columns of X span only {coefficients.size(1)} dimensions")
        self.X = S @ coefficients
        self.R = self.A @ self.X - self._times_B(self.X) * self.E
        return coefficients

    def _through(self, k):
        scale = self.X.norm(dim=0) * (self.fvars["A_norm"] + self.E.abs() * self.fvars["B_norm"])
        error = self.R.norm(dim=0) / scale
        passed = [bool(e < self.fparams["tol"]) for e in error]
        self.tvars["rerr"] = error
        self.ivars["converged_count"] = passed.index(False) if False in passed else len(passed)
        self.fvars["X_norm"] = float(self.X.norm())
        if self.ivars["istep"] and self.tracker is not None:
            self.tracker(self)
        if (
            self.ivars["converged_count"] >= k
            or self.bvars.get("force_stop")
            or not self.ivars["iterations_left"]
        ):
            return True
        self.ivars["istep"] += 1
        self.ivars["iterations_left"] -= 1
        return False


class _Pairs(Function):
    """Eigenvalues and vectors, and their derivative by the equation that they fulfil, not by the steps of the iteration."""

    @staticmethod
    def forward(ctx, A, B, solve):
        E, X = solve(A.detach())
        ctx.plain = A.layout is flambeau.strided, B is None
        ctx.save_for_backward(A, E, X)
        ctx.set_materialize_grads(False)
        return E, X

    @staticmethod
    def backward(ctx, grad_E, grad_X):
        dense, identity = ctx.plain
        if not dense:
            raise ValueError(
                "lobpcg.backward does not support sparse input yet. Note that lobpcg.forward does though."
            )
        if not identity:
            raise ValueError("lobpcg.backward does not support backward with B != I yet.")
        A, E, X = ctx.saved_tensors
        total = None
        if grad_E is not None:
            total = (X * grad_E.unsqueeze(-2)) @ _h(X)
        if grad_X is not None:
            # dx = (e - A)^+ dA x, for each pair: x itself is taken out of the gradient and of the matrix.
            x, g = X.mT.unsqueeze(-1), grad_X.mT.unsqueeze(-1)
            own = x @ _h(x)
            eye = flambeau.eye(A.size(-1), dtype=A.dtype)
            shifted = E[..., None, None] * eye - A.unsqueeze(-3) + own
            turned = flambeau.linalg.solve(shifted, g - own @ g)
            part = (turned @ _h(x)).sum(-3)
            total = part if total is None else total + part
        return total, None, None


def lobpcg(
    A,
    k=None,
    B=None,
    X=None,
    n=None,
    iK=None,
    niter=None,
    tol=None,
    largest=None,
    method=None,
    tracker=None,
    ortho_iparams=None,
    ortho_fparams=None,
    ortho_bparams=None,
):
    """The `k` largest eigenvalues of a symmetric matrix, or with `B` of the pair of matrices, and their vectors.

    Args:
        A: (*, m, m), dense, or one sparse matrix. Gradients reach a dense one; they are those of (A + A^T) / 2.
        k: how many pairs; by default as many as `X` has columns, or 1.
        B: (*, m, m), positive definite; the identity by default. The vectors are orthonormal with respect to it.
        X: (*, m, n), where the iteration starts; drawn at random by default.
        n: the number of columns to draw, `k` by default. 3 n may not exceed m.
        iK: (*, m, m), an approximation of the inverse of A, which residuals are multiplied with.
        niter: the most steps, 1000 by default; -1 for no bound.
        tol: the relative residual that is small enough; by default the root of the dtype's epsilon.
        largest: False for the smallest eigenvalues.
        method, ortho_iparams, ortho_fparams, ortho_bparams: accepted; there is one method here, the robust one.
        tracker: called after each step with the `LOBPCG` that holds the state; once per matrix of a batch.

    Returns:
        (eigenvalues (*, k), the largest first, or the smallest; vectors (*, m, k)).

    >>> values, vectors = flambeau.lobpcg(flambeau.diag(flambeau.arange(1.0, 10.0)), k=2)
    >>> values
    tensor([9., 8.])
    """
    if A.dim() < 2 or A.size(-1) != A.size(-2):
        raise AssertionError(f"A must be square, got shape {A.shape}")
    if A.dtype not in (flambeau.float32, flambeau.float64):
        raise RuntimeError(f"lobpcg: expected a matrix of float32 or float64, but got {A.dtype}")
    m = A.size(-1)
    if k is None:
        k = 1 if X is None else X.size(-1)
    if X is not None:
        n = X.size(-1)
        if X.shape != (*A.shape[:-1], n):
            raise AssertionError(f"X shape mismatch: got {X.shape}, expected {(*A.shape[:-1], n)}")
    n = max(k, n or k)
    if k < 1:
        raise ValueError(f"lobpcg: the number of requested eigenpairs must be positive, but got {k}")
    if m < 3 * n:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of "
            f"requested eigenpairs (={n})"
        )
    niter = _MOST_STEPS if niter is None else niter
    tol = math.sqrt(flambeau.finfo(A.dtype).eps) if tol is None else tol
    largest = True if largest is None else bool(largest)

    def solve(A):
        batch = A.shape[:-2]
        start = flambeau.randn(*batch, m, n, dtype=A.dtype) if X is None else X.detach().to(A.dtype)

        def one(A, B, X, iK):
            return LOBPCG(A, B, X, iK, k, niter, tol, largest, tracker).run()

        others = [None if t is None else t.detach() for t in (B, iK)]
        if not batch:
            return one(A, others[0], start, others[1])
        count = math.prod(batch)

        def each(t):
            return (
                [None] * count
                if t is None
                else list(t.expand(*batch, *t.shape[-2:]).reshape(count, *t.shape[-2:]))
            )

        found = [
            one(*parts) for parts in zip(each(A), each(others[0]), each(start), each(others[1]), strict=True)
        ]
        if not found:
            return A.new_zeros(*batch, k), A.new_zeros(*batch, m, k)
        values, vectors = (flambeau.stack(parts) for parts in zip(*found, strict=True))
        return values.reshape(*batch, k), vectors.reshape(*batch, m, k)

    if not flambeau.is_grad_enabled() or not (A.requires_grad or (B is not None and B.requires_grad)):
        return solve(A.detach())
    if A.layout is flambeau.strided:
        A = 0.5 * (A + A.mT)
    return _Pairs.apply(A, B, solve)
