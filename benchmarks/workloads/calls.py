"""One element: the cost of a call."""

from .registry import workload


@workload("add, 1 element", target=4)
def add_one(torch):
    a, b = torch.rand(1), torch.rand(1)
    return lambda: a + b


@workload("add, 1 element, with gradient", target=4)
def add_one_gradient(torch):
    a, b = torch.rand(1, requires_grad=True), torch.rand(1)
    return lambda: a + b


@workload("scalar chain, 40 operations, forward and backward", target=4)
def scalar_chain(torch):
    x = torch.tensor(0.7, requires_grad=True)

    def run():
        y = x
        for _ in range(10):
            y = (y * 1.1 + 0.3).tanh() - x
        y.backward()
        x.grad = None

    return run


@workload("x[3]", target=2)
def integer_index(torch):
    x = torch.rand(16, 16)
    return lambda: x[3]


@workload("chain of views", target=2)
def views(torch):
    x = torch.rand(4, 6, 8)
    return lambda: x.transpose(0, 1).reshape(6, 32)[1:5].unsqueeze(0).permute(2, 0, 1)


@workload("x[2:7, ..., None]")
def slice_index(torch):
    x = torch.rand(16, 16, 4)
    return lambda: x[2:7, ..., None]


@workload("x.sum().item(), 16 elements")
def small_sum(torch):
    x = torch.rand(16)
    return lambda: x.sum().item()


@workload("zeros(3, 4)")
def small_zeros(torch):
    return lambda: torch.zeros(3, 4)


@workload("Linear(16, 16) on one row", target=2.5)
def linear_row(torch):
    layer, x = torch.nn.Linear(16, 16), torch.rand(1, 16)
    return lambda: layer(x)
