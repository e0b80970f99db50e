"""GPyTorch: an exact and a variational Gaussian process; Pyro: variational inference and Hamiltonian Monte Carlo;
torchdiffeq: a differential equation with parameters, and its adjoint.

`python probability.py OUT.json` writes what it observes; run by flambeau in a test, by PyTorch for the golden file.
"""

import json
import math
import sys
import warnings

import gpytorch
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO, TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoDiagonalNormal
from pyro.nn import PyroModule, PyroSample
from torchdiffeq import odeint, odeint_adjoint

warnings.simplefilter("ignore")
torch.set_default_dtype(torch.float64)
X = torch.linspace(0, 1, 20)
Y = (X * 2 * math.pi).sin() + 0.1 * torch.cos(37 * X)


class Exact(gpytorch.models.ExactGP):
    def __init__(self, likelihood):
        super().__init__(X, Y, likelihood)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = gpytorch.kernels.ScaleKernel(
            gpytorch.kernels.RBFKernel() + gpytorch.kernels.MaternKernel(nu=1.5)
        )

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


class Variational(gpytorch.models.ApproximateGP):
    def __init__(self):
        points = torch.linspace(0, 1, 6).unsqueeze(-1)
        strategy = gpytorch.variational.VariationalStrategy(
            self,
            points,
            gpytorch.variational.CholeskyVariationalDistribution(6),
            learn_inducing_locations=True,
        )
        super().__init__(strategy)
        self.mean_module = gpytorch.means.LinearMean(1)
        self.covar_module = gpytorch.kernels.PeriodicKernel()

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def gaussian_processes():
    torch.manual_seed(0)
    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    exact, found = Exact(likelihood), {"exact": [], "variational": []}
    optimizer = torch.optim.Adam(exact.parameters(), lr=0.1)
    marginal = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, exact)
    for _ in range(8):
        optimizer.zero_grad()
        loss = -marginal(exact(X), Y)
        loss.backward()
        optimizer.step()
        found["exact"].append(loss.item())
    exact.eval(), likelihood.eval()
    with torch.no_grad(), gpytorch.settings.fast_pred_var():
        prediction = likelihood(exact(torch.tensor([0.15, 0.5, 1.2])))
    found["prediction"] = [prediction.mean.tolist(), prediction.variance.tolist()]
    model, likelihood = Variational(), gpytorch.likelihoods.BernoulliLikelihood()
    bound = gpytorch.mlls.VariationalELBO(likelihood, model, num_data=20)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(8):
        optimizer.zero_grad()
        loss = -bound(model(X.unsqueeze(-1)), (Y > 0).double())
        loss.backward()
        optimizer.step()
        found["variational"].append(loss.item())
    return found


class Regression(PyroModule):
    def __init__(self):
        super().__init__()
        self.linear = PyroModule[torch.nn.Linear](1, 1)
        self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 1]).to_event(2))
        self.linear.bias = PyroSample(dist.Normal(0.0, 5.0).expand([1]).to_event(1))

    def forward(self, x, y=None):
        scale = pyro.sample("scale", dist.Uniform(0.0, 2.0))
        mean = self.linear(x.unsqueeze(-1)).squeeze(-1)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("obs", dist.Normal(mean, scale), obs=y)
        return mean


@config_enumerate
def mixture(data):
    weights = pyro.param("weights", torch.tensor([0.4, 0.6]), constraint=dist.constraints.simplex)
    means = pyro.param("means", torch.tensor([-1.0, 1.0]))
    with pyro.plate("data", len(data)):
        which = pyro.sample("which", dist.Categorical(weights))
        pyro.sample("obs", dist.Normal(means[which], 0.5), obs=data)


def inference():
    pyro.set_rng_seed(1)
    pyro.clear_param_store()
    found, model = {}, Regression()
    guide = AutoDiagonalNormal(model)
    svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.03}), Trace_ELBO())
    found["bounds"] = [svi.step(X, Y) for _ in range(8)]
    svi = SVI(mixture, lambda data: None, pyro.optim.Adam({"lr": 0.05}), TraceEnum_ELBO())
    found["enumerated"] = [svi.step(Y) for _ in range(5)]
    found["means"] = pyro.param("means").tolist()
    chain = MCMC(NUTS(model), num_samples=4, warmup_steps=4, disable_progbar=True)
    chain.run(X, Y)
    found["samples"] = chain.get_samples()["scale"].tolist()
    return found


class Oscillator(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor([[0.0, 1.0], [-2.0, -0.1]]))

    def forward(self, t, y):
        return y @ self.matrix.T


def differential_equations():
    found, times = {}, torch.linspace(0, 3, 5)
    for method in ("dopri5", "rk4", "implicit_adams"):
        for name, solve in (("direct", odeint), ("adjoint", odeint_adjoint)):
            field, start = Oscillator(), torch.tensor([1.0, 0.0], requires_grad=True)
            path = solve(field, start, times, method=method)
            path.square().sum().backward()
            found[f"{method} {name}"] = [path.tolist(), start.grad.tolist(), field.matrix.grad.tolist()]
    return found


if __name__ == "__main__":
    found = {
        "gaussian processes": gaussian_processes(),
        "inference": inference(),
        "differential equations": differential_equations(),
    }
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=0)
