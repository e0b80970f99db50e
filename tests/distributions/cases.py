"""Distributions with parameters, as data: read under flambeau by the tests, under PyTorch to record golden values."""

_V = [0.3, 1.2, 2.5]
_P = [0.1, 0.5, 0.9]
_ROWS = [[0.2, 0.3, 0.5], [1.0, 2.0, 5.0]]
_COV = [[2.0, 0.5], [0.5, 1.0]]
_TRIL = [[1.4, 0.0], [0.35, 0.9]]

#: (class, its parameters); lists become tensors that require gradients.
CASES = [
    ("Bernoulli", {"probs": _P}),
    ("Bernoulli", {"logits": [-1.0, 0.0, 2.0]}),
    ("Beta", {"concentration1": _V, "concentration0": [2.0, 0.7, 1.5]}),
    ("Binomial", {"total_count": 7, "probs": _P}),
    ("Binomial", {"total_count": [3.0, 5.0, 9.0], "logits": [-1.0, 0.0, 2.0]}),
    ("Categorical", {"probs": _ROWS}),
    ("Categorical", {"logits": [-1.0, 0.0, 2.0, 0.5]}),
    ("Cauchy", {"loc": [0.0, 1.0, -2.0], "scale": _V}),
    ("Chi2", {"df": _V}),
    ("ContinuousBernoulli", {"probs": [0.1, 0.5, 0.4999, 0.9]}),
    ("ContinuousBernoulli", {"logits": [-1.0, 0.001, 2.0]}),
    ("Dirichlet", {"concentration": _ROWS}),
    ("Exponential", {"rate": _V}),
    ("FisherSnedecor", {"df1": _V, "df2": [3.0, 5.0, 9.0]}),
    ("Gamma", {"concentration": _V, "rate": [2.0, 0.7, 1.5]}),
    ("GeneralizedPareto", {"loc": [0.0, 1.0, -2.0], "scale": _V, "concentration": [0.0, 0.3, -0.4]}),
    ("Geometric", {"probs": _P}),
    ("Geometric", {"logits": [-1.0, 0.0, 2.0]}),
    ("Gumbel", {"loc": [0.0, 1.0, -2.0], "scale": _V}),
    ("HalfCauchy", {"scale": _V}),
    ("HalfNormal", {"scale": _V}),
    ("InverseGamma", {"concentration": [0.5, 1.5, 3.0], "rate": _V}),
    ("Kumaraswamy", {"concentration1": [1.3, 1.2, 2.5], "concentration0": [2.0, 1.7, 1.5]}),
    ("Laplace", {"loc": [0.0, 1.0, -2.0], "scale": _V}),
    ("LKJCholesky", {"dim": 3, "concentration": [0.5, 1.0, 2.0]}),
    ("LogNormal", {"loc": [0.0, 1.0, -2.0], "scale": [0.3, 0.5, 1.0]}),
    ("LogisticNormal", {"loc": [0.0, 1.0, -2.0], "scale": _V}),
    ("LowRankMultivariateNormal", {"loc": [0.0, 1.0], "cov_factor": [[1.0], [0.5]], "cov_diag": [0.5, 2.0]}),
    ("Multinomial", {"total_count": 6, "probs": _ROWS}),
    ("MultivariateNormal", {"loc": [[0.0, 1.0], [2.0, 3.0]], "covariance_matrix": _COV}),
    ("MultivariateNormal", {"loc": [0.0, 1.0], "precision_matrix": _COV}),
    ("MultivariateNormal", {"loc": [0.0, 1.0], "scale_tril": _TRIL}),
    ("NegativeBinomial", {"total_count": [3.0, 5.0, 9.0], "probs": _P}),
    ("NegativeBinomial", {"total_count": 4, "logits": [-1.0, 0.0, 2.0]}),
    ("Normal", {"loc": [0.0, 1.0, -2.0], "scale": _V}),
    ("Normal", {"loc": 0, "scale": 2.0}),
    ("OneHotCategorical", {"probs": _ROWS}),
    ("OneHotCategoricalStraightThrough", {"logits": [-1.0, 0.0, 2.0, 0.5]}),
    ("Pareto", {"scale": _V, "alpha": [1.5, 2.5, 4.0]}),
    ("Poisson", {"rate": [0.5, 3.0, 20.0]}),
    ("RelaxedBernoulli", {"temperature": [0.7], "probs": _P}),
    ("RelaxedOneHotCategorical", {"temperature": [0.7], "logits": [-1.0, 0.0, 2.0, 0.5]}),
    ("StudentT", {"df": [0.8, 1.5, 5.0], "loc": [0.0, 1.0, -2.0], "scale": _V}),
    ("Uniform", {"low": [0.0, 1.0, -2.0], "high": [0.5, 4.0, 2.0]}),
    ("VonMises", {"loc": [0.0, 1.0, -2.0], "concentration": _V}),
    ("Weibull", {"scale": _V, "concentration": [1.5, 2.5, 4.0]}),
    ("Wishart", {"df": 5.0, "scale_tril": _TRIL}),
]

#: Pairs for divergences besides each case with its own parameters shifted: parameters that overlap.
KL_ONE = {
    "Beta": {"concentration1": 1.5, "concentration0": 2.5},
    "ContinuousBernoulli": {"probs": 0.3},
    "Exponential": {"rate": 1.3},
    "Gamma": {"concentration": 2.5, "rate": 1.7},
    "Gumbel": {"loc": 0.3, "scale": 1.2},
    "Laplace": {"loc": 0.3, "scale": 1.2},
    "Normal": {"loc": 0.3, "scale": 1.2},
    "Pareto": {"scale": 0.2, "alpha": 2.5},
    "Uniform": {"low": 0.25, "high": 0.9},
    "Poisson": {"rate": 1.5},
    "Bernoulli": {"probs": 0.4},
    "Binomial": {"total_count": 3, "probs": 0.4},
    "Cauchy": {"loc": 0.3, "scale": 1.2},
    "Geometric": {"probs": 0.4},
    "HalfNormal": {"scale": 1.2},
    "Categorical": {"probs": [0.2, 0.3, 0.5]},
    "OneHotCategorical": {"probs": [0.2, 0.3, 0.5]},
    "Dirichlet": {"concentration": [0.5, 1.5, 3.0]},
    "MultivariateNormal": {"loc": [0.0, 1.0], "covariance_matrix": _COV},
    "LowRankMultivariateNormal": {"loc": [0.5, 1.0], "cov_factor": [[1.0], [0.5]], "cov_diag": [0.5, 2.0]},
}
KL_OTHER = {
    "Beta": {"concentration1": 2.5, "concentration0": 1.2},
    "ContinuousBernoulli": {"probs": 0.6},
    "Exponential": {"rate": 0.7},
    "Gamma": {"concentration": 1.5, "rate": 0.7},
    "Gumbel": {"loc": -0.3, "scale": 0.8},
    "Laplace": {"loc": -0.3, "scale": 0.8},
    "Normal": {"loc": -0.3, "scale": 0.8},
    "Pareto": {"scale": 0.1, "alpha": 1.5},
    "Uniform": {"low": 0.1, "high": 1.5},
    "Poisson": {"rate": 2.5},
    "Bernoulli": {"probs": 0.7},
    "Binomial": {"total_count": 3, "probs": 0.7},
    "Cauchy": {"loc": -0.3, "scale": 0.8},
    "Geometric": {"probs": 0.7},
    "HalfNormal": {"scale": 0.8},
    "Categorical": {"probs": [0.4, 0.4, 0.2]},
    "OneHotCategorical": {"probs": [0.4, 0.4, 0.2]},
    "Dirichlet": {"concentration": [1.5, 0.5, 2.0]},
    "MultivariateNormal": {"loc": [1.0, 1.0], "scale_tril": _TRIL},
    "LowRankMultivariateNormal": {"loc": [0.0, 2.0], "cov_factor": [[0.4], [1.5]], "cov_diag": [1.5, 1.0]},
}


def build(torch, name, parameters):
    """(the distribution, the leaves among its parameters)."""
    made = {
        key: torch.tensor(value, requires_grad=True) if isinstance(value, list) else value
        for key, value in parameters.items()
    }
    leaves = [value for value in made.values() if isinstance(value, torch.Tensor)]
    return getattr(torch.distributions, name)(**made), leaves


def plain(value):
    return value.detach().tolist() if hasattr(value, "detach") else value


def gradients(torch, value, leaves):
    """Gradients of the sum of `value` weighted unevenly; None where there is none."""
    weights = torch.arange(1, value.numel() + 1, dtype=value.dtype).reshape(value.shape)
    found = torch.autograd.grad((value * weights).sum(), leaves, allow_unused=True, retain_graph=True)
    return [plain(g) for g in found]


def observe(torch, name, parameters):
    """Everything that a distribution says of itself, as plain data; an exception is its class's name."""

    def attempt(function):
        try:
            return function()
        except (NotImplementedError, ValueError, RuntimeError) as error:
            return type(error).__name__

    d, leaves = build(torch, name, parameters)
    torch.manual_seed(17)
    sample = d.sample((4,))
    seen = {
        "repr": repr(d),
        "shapes": [list(d.batch_shape), list(d.event_shape)],
        "flags": [d.has_rsample, d.has_enumerate_support],
        "support": repr(d.support) if "tensor" not in repr(d.support) else "",
        "sample": plain(sample),
        "dtype": str(sample.dtype),
    }
    for what in ("mean", "mode", "variance", "stddev"):
        seen[what] = attempt(lambda what=what: plain(getattr(d, what)))
    log_prob = attempt(lambda: d.log_prob(sample))
    seen["log_prob"] = plain(log_prob)
    if leaves and not isinstance(log_prob, str) and log_prob.requires_grad:
        seen["log_prob_grad"] = gradients(torch, log_prob, leaves)
    entropy = attempt(d.entropy)
    seen["entropy"] = plain(entropy)
    if leaves and not isinstance(entropy, str) and entropy.requires_grad:
        seen["entropy_grad"] = gradients(torch, entropy, leaves)
    seen["cdf"] = attempt(lambda: plain(d.cdf(sample)))
    seen["icdf"] = attempt(lambda: plain(d.icdf(torch.tensor(0.3))))
    seen["enumerate"] = attempt(lambda: plain(d.enumerate_support()))
    if d.has_rsample:
        torch.manual_seed(17)
        drawn = d.rsample((2,))
        seen["rsample"] = plain(drawn)
        if leaves:
            seen["rsample_grad"] = attempt(lambda: gradients(torch, drawn, leaves))
    wide = d.expand(torch.Size([2, *d.batch_shape]))
    torch.manual_seed(17)
    seen["expanded"] = [list(wide.batch_shape), list(wide.event_shape), plain(wide.sample())]
    return seen


def divergences(torch):
    """{"P Q": KL(P || Q)} over all pairs that are registered."""
    found = {}
    for p, of_p in KL_ONE.items():
        for q, of_q in KL_OTHER.items():
            try:
                value = torch.distributions.kl_divergence(build(torch, p, of_p)[0], build(torch, q, of_q)[0])
            except NotImplementedError:
                continue
            found[f"{p} {q}"] = plain(value)
    return found
