"""Workloads of function transforms: gradients per example, Jacobians, batches of models."""

from .registry import workload


def _classifier(torch, layers, shape, classes):
    """(parameters, loss of one example, a batch)."""
    model = torch.nn.Sequential(*layers)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x, y):
        logits = torch.func.functional_call(model, parameters, (x.unsqueeze(0),))
        return torch.nn.functional.cross_entropy(logits, y.unsqueeze(0))

    return parameters, loss, torch.rand(*shape), torch.randint(classes, shape[:1])


@workload("vmap of a function of five operators, 100 examples")
def vmap_small(torch):
    x, w = torch.rand(100, 8), torch.rand(8)
    run = torch.vmap(lambda a: ((a * w + 1).tanh() - a).sum())
    return lambda: run(x)


@workload("gradients per example, MLP 64-64-10, 64 examples")
def gradients_of_mlp(torch):
    nn = torch.nn
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    parameters, loss, x, y = _classifier(torch, layers, (64, 64), 10)
    gradients = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    return lambda: gradients(parameters, x, y)


@workload("gradients per example, CNN of two layers, 16 images of 16x16")
def gradients_of_cnn(torch):
    nn = torch.nn
    layers = [
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ]  # fmt: skip
    parameters, loss, x, y = _classifier(torch, layers, (16, 3, 16, 16), 10)
    gradients = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    return lambda: gradients(parameters, x, y)


def _network(torch):
    w1, w2 = torch.rand(32, 16), torch.rand(16, 32)
    return lambda x: (w2 @ (w1 @ x).tanh()).sin(), torch.rand(16)


@workload("jacrev, 16 to 16 through 32")
def reverse_jacobian(torch):
    f, x = _network(torch)
    jacobian = torch.func.jacrev(f)
    return lambda: jacobian(x)


@workload("jacfwd, 16 to 16 through 32")
def forward_jacobian(torch):
    f, x = _network(torch)
    jacobian = torch.func.jacfwd(f)
    return lambda: jacobian(x)


@workload("func.hessian, 16 inputs")
def hessian(torch):
    f, x = _network(torch)
    second = torch.func.hessian(lambda x: f(x).sum())
    return lambda: second(x)


@workload("func.jvp, MLP 64-64-10, 64 examples")
def tangents_of_mlp(torch):
    nn = torch.nn
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    for p in model.parameters():
        p.requires_grad_(False)
    x, t = torch.rand(64, 64), torch.rand(64, 64)
    return lambda: torch.func.jvp(model, (x,), (t,))


@workload("func.grad of a function of five operators")
def small_gradient(torch):
    x = torch.rand(8)
    gradient = torch.func.grad(lambda a: ((a * 2 + 1).tanh() - a).sum())
    return lambda: gradient(x)


@workload("ten models at once by vmap, MLP 32-32-4, 32 examples")
def ensemble(torch):
    nn = torch.nn
    models = [nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)) for _ in range(10)]
    parameters, buffers = torch.func.stack_module_state(models)
    parameters = {name: p.detach() for name, p in parameters.items()}
    x = torch.rand(32, 32)
    run = torch.vmap(lambda p, b: torch.func.functional_call(models[0], (p, b), (x,)))
    return lambda: run(parameters, buffers)
