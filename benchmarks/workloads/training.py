"""Steps of training: networks, recurrence, optimizers."""

from collections.abc import Callable

from .registry import MILLION, workload


def _training_step(torch, model, optimizer, x, y, loss_function) -> Callable:
    def step():
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()

    return step


@workload("tiny MLP 16-32-1, batch 8, SGD step", target=3)
def tiny_mlp(torch):
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return _training_step(torch, model, optimizer, torch.rand(8, 16), torch.rand(8, 1), nn.MSELoss())


@workload("MLP 784-128-10, batch 64, Adam step", target=2.5)
def mlp(torch):
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    target = torch.randint(10, (64,))
    return _training_step(torch, model, optimizer, torch.rand(64, 784), target, nn.CrossEntropyLoss())


@workload("convolutional network on 8x8 digits, batch 64, AdamW step")
def digits_network(torch):
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(512, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
    target = torch.randint(10, (64,))
    return _training_step(torch, model, optimizer, torch.rand(64, 1, 8, 8), target, nn.CrossEntropyLoss())


def _recurrent_step(torch, kind, layers, size, batch, steps, train):
    torch.manual_seed(0)
    model = getattr(torch.nn, kind)(size, size, layers)
    x = torch.rand(steps, batch, size)

    def step():
        model.zero_grad()
        model(x)[0].sum().backward()

    @torch.no_grad()
    def infer():
        return model(x)

    return step if train else infer


def _recurrent(kind, layers, size, batch, steps, train=True, target=None):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    products = layers * (6 if train else 2) - train  # the first layer's input has no gradient
    name = f"{kind} {layers}x{size}, batch {batch}, {steps} steps, " + ("training" if train else "inference")
    flops = 2.0 * steps * batch * size * size * gates * products
    workload(name, target=target, flops=flops)(
        lambda torch: _recurrent_step(torch, kind, layers, size, batch, steps, train)
    )


_recurrent("LSTM", 2, 256, 32, 32, target=1.3)
_recurrent("GRU", 2, 256, 32, 32, target=1.3)
_recurrent("RNN", 2, 256, 32, 32)
_recurrent("LSTM", 2, 256, 1, 100, train=False)
_recurrent("GRU", 1, 64, 64, 20)
_recurrent("LSTM", 1, 20, 4, 20, target=2)


@workload("CTC loss of 16 sequences, 100 steps, 30 labels, forward and backward", target=1.5)
def ctc(torch):
    torch.manual_seed(0)
    scores = torch.randn(100, 16, 40).log_softmax(2).requires_grad_()
    targets = torch.randint(1, 40, (16, 30))

    def run():
        scores.grad = None
        torch.nn.functional.ctc_loss(scores, targets, (100,) * 16, (30,) * 16).backward()

    return run


def _optimizer(
    name: str, optimizer: str, shapes: list[tuple[int, ...]], target: float | None = None, **options
) -> None:
    @workload(name, target=target)
    def prepare(torch):
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.rand(*shape)) for shape in shapes]
        for parameter in parameters:
            parameter.grad = torch.rand_like(parameter)
        return getattr(torch.optim, optimizer)(parameters, lr=1e-3, **options).step


_optimizer("AdamW step, 10M in 100 tensors", "AdamW", [(100_000,)] * 100, target=2)
_optimizer("Adam step, 10M in 100 tensors", "Adam", [(100_000,)] * 100, target=2)
_optimizer("AdamW step, 20M in one", "AdamW", [(20 * MILLION,)], target=5)
_optimizer("SGD step, 10M in 100 tensors", "SGD", [(100_000,)] * 100)
_optimizer("SGD with momentum step, 10M in 100 tensors", "SGD", [(100_000,)] * 100, target=1.3, momentum=0.9)
for _name in ("Adadelta", "Adagrad", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop"):
    _optimizer(f"{_name} step, 1M in 100 tensors", _name, [(10_000,)] * 100)


@workload("DataLoader over 1024 samples, batch 32")
def data_loader(torch):
    data = torch.utils.data.TensorDataset(torch.rand(1024, 16), torch.arange(1024))
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    return lambda: [batch for batch in loader]
