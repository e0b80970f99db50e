"""Train a small convolutional network on scikit-learn's handwritten digits (1797 pictures of 8x8 pixels).

An ordinary PyTorch program, and it stays one: it runs the same way on both libraries.

    python -m flambeau examples/digits.py
    python examples/digits.py               # with PyTorch installed
"""

import argparse
import json
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm


class DigitNet(nn.Module):
    """8x8 grey pixels -> ten logits. Two normalised convolutions, pooling, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, kernel_size=3, padding=1, bias=False),  # (B, 16, 8, 8)
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 16, 4, 4)
            nn.Conv2d(16, 32, kernel_size=3, padding=1, bias=False),  # (B, 32, 4, 4)
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 4 * 4, 10))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(pixels))


def load_data(held_out: int) -> tuple[TensorDataset, TensorDataset]:
    """The pictures in [0, 1] as (N, 1, 8, 8) and their labels, shuffled and split in two."""
    digits = load_digits()
    pixels = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target, dtype=torch.int64)
    order = torch.randperm(len(labels))
    train, test = order[held_out:], order[:held_out]
    return TensorDataset(pixels[train], labels[train]), TensorDataset(pixels[test], labels[test])


def train(model: nn.Module, data: TensorDataset, epochs: int, max_steps: int | None) -> list[float]:
    """Minimise the cross entropy with AdamW; the loss of every step."""
    loader = DataLoader(data, batch_size=32, shuffle=True)
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    total = epochs * len(loader) if max_steps is None else min(max_steps, epochs * len(loader))
    losses: list[float] = []
    model.train()
    with tqdm(total=total, unit="step", desc="training") as progress:
        for epoch in range(epochs):
            for pixels, labels in loader:
                if len(losses) == total:
                    return losses
                optimizer.zero_grad()
                loss = loss_function(model(pixels), labels)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                progress.set_postfix(epoch=epoch + 1, loss=f"{losses[-1]:.4f}")
                progress.update()
    return losses


@torch.no_grad()
def evaluate(model: nn.Module, data: TensorDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels of `data` and the model's predictions, both (N,)."""
    model.eval()
    pixels, labels = data.tensors
    return labels, model(pixels).argmax(dim=1)


def draw(path: Path, losses: list[float], data: TensorDataset, predictions: torch.Tensor) -> None:
    """Write one picture: the loss curve, some predictions (all mistakes first), the confusion matrix."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    pixels, labels = data.tensors
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    for label, prediction in zip(labels.tolist(), predictions.tolist(), strict=True):
        confusion[label, prediction] += 1
    wrong = (predictions != labels).nonzero().flatten().tolist()
    right = (predictions == labels).nonzero().flatten().tolist()
    chosen = (wrong + right)[:24]

    figure = plt.figure(figsize=(15, 5), layout="constrained")
    left, middle, right_side = figure.subfigures(1, 3, width_ratios=[1.1, 1, 1.1])

    axes = left.subplots()
    axes.plot(range(1, len(losses) + 1), losses, color="tab:blue", linewidth=1)
    axes.set(title="Training loss", xlabel="step", ylabel="cross entropy", yscale="log")
    axes.grid(alpha=0.3)

    middle.suptitle(f"Held-out digits ({len(wrong)} of {len(labels)} wrong, shown in red)")
    for axes, index in zip(middle.subplots(4, 6).flat, chosen, strict=False):
        mistaken = predictions[index].item() != labels[index].item()
        axes.imshow(pixels[index, 0].tolist(), cmap="gray_r")
        axes.set_title(str(predictions[index].item()), color="tab:red" if mistaken else "black", fontsize=10)
        axes.axis("off")

    axes = right_side.subplots()
    axes.imshow(confusion.tolist(), cmap="Blues")
    axes.set(
        title="Confusion matrix", xlabel="predicted", ylabel="actual", xticks=range(10), yticks=range(10)
    )
    half = confusion.max().item() / 2
    for row, counts in enumerate(confusion.tolist()):
        for column, count in enumerate(counts):
            if count:
                color = "white" if count > half else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2, help="of weights, split, shuffling and dropout")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument(
        "--out", type=Path, default=Path("demo_output/digits.png"), help="the picture to write"
    )
    parser.add_argument("--losses", type=Path, help="also write the loss of every step, as JSON")
    parser.add_argument("--max-steps", type=int, help="stop early; then nothing is evaluated or drawn")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    training, held_out = load_data(held_out=360)
    model = DigitNet()
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(training)} digits to learn from, {len(held_out)} held out, {count} parameters")

    losses = train(model, training, arguments.epochs, arguments.max_steps)
    if arguments.losses is not None:
        arguments.losses.write_text(json.dumps(losses) + "\n")
    if arguments.max_steps is not None:
        return

    labels, predictions = evaluate(model, held_out)
    accuracy = (predictions == labels).float().mean().item()
    draw(arguments.out, losses, held_out, predictions)
    print(f"accuracy on {len(labels)} held-out digits: {accuracy:.2%}")
    print(f"picture: {arguments.out}")


if __name__ == "__main__":
    main()
