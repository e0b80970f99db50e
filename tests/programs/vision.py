"""timm: models in train and eval, features, optimizers and schedules, losses, stochastic depth, Swin's index in a buffer.

`python vision.py OUT.json` writes what it observes; run by flambeau in a test, by PyTorch for the golden file.
"""

import json
import sys
import warnings

import numpy as np
import torch

if not hasattr(torch, "install_as_torch"):
    # timm imports torchvision, whose wheel may have been compiled for another build of PyTorch than is installed.
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor boxes, Tensor scores, float threshold) -> Tensor")

import timm
from timm import loss as losses
from timm.data.mixup import Mixup
from timm.layers import DropPath
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV2, accuracy

warnings.simplefilter("ignore")

# Names, and the sizes of their pictures.
MODELS = {
    "resnet18": 32,
    "vit_tiny_patch16_224": 32,
    "swin_tiny_patch4_window7_224": 56,
    "convnext_atto": 32,
}
OPTIMIZERS = "sgd adamw nadamw lamb lars adabelief adan lion madgrad rmsproptf adopt laprop novograd".split()


def made(name, **options):
    if name.startswith(("vit", "swin")):
        options["img_size"] = MODELS[name]
    return timm.create_model(name, **options)


def observe(name):
    torch.manual_seed(0)
    model, size = made(name, num_classes=10, drop_path_rate=0.1), MODELS[name]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    found = {"weights": float(sum(p.detach().double().abs().sum() for p in model.parameters()))}
    model.eval()
    with torch.no_grad():
        found["logits"] = model(images).flatten().tolist()
        features = model.forward_features(images)
    found["features"] = [*features.shape, float(features.double().abs().mean())]
    model.train()
    torch.manual_seed(3)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
    schedule = CosineLRScheduler(optimizer, t_initial=10, warmup_t=3, warmup_lr_init=1e-5)
    average, criterion = ModelEmaV2(model, decay=0.9), losses.LabelSmoothingCrossEntropy(0.1)
    found["losses"] = []
    for step in range(2):
        loss = criterion(model(images), torch.tensor([1, 4]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step(step)
        average.update(model)
        found["losses"].append(float(loss))
    found["rates"] = [group["lr"] for group in optimizer.param_groups]
    return found


def features():
    torch.manual_seed(0)
    images = torch.randn(1, 3, 32, 32)
    pyramid = made("resnet18", features_only=True, out_indices=(1, 3)).eval()
    swin = made("swin_tiny_patch4_window7_224")
    index = next(b for name, b in swin.named_buffers() if "relative_position_index" in name)
    return {
        "pyramid": [[*f.shape, float(f.double().sum())] for f in pyramid(images)],
        "relative position index": [str(index.dtype), *index.shape, int(index.sum())],
    }


def optimizers():
    found = {}
    for name in OPTIMIZERS:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 5))
        images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
        optimizer = create_optimizer_v2(model, opt=name, lr=1e-2, weight_decay=0.01)
        found[name] = []
        for _ in range(4):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            found[name].append(float(loss))
    return found


def parts():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 5, requires_grad=True), torch.tensor([0, 1, 2, 3, 4, 0])
    soft = torch.softmax(torch.randn(6, 5), -1)
    found = {}
    for criterion, target in (
        (losses.LabelSmoothingCrossEntropy(0.1), labels),
        (losses.SoftTargetCrossEntropy(), soft),
        (losses.BinaryCrossEntropy(0.1), labels),
        (losses.JsdCrossEntropy(num_splits=3), labels[:2]),
        (losses.AsymmetricLossMultiLabel(), (soft > 0.2).float()),
    ):
        logits.grad = None
        loss = criterion(logits, target)
        loss.backward()
        found[type(criterion).__name__] = [float(loss), float(logits.grad.abs().sum())]
    found["accuracy"] = [float(a) for a in accuracy(logits, labels, topk=(1, 3))]
    np.random.seed(0)
    mixed, targets = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=5)(
        torch.randn(4, 3, 8, 8), labels[:4]
    )
    found["mixup"] = [float(mixed.sum()), *targets.flatten().tolist()]
    found["drop path"] = DropPath(0.5).train()(torch.ones(8, 2)).flatten().tolist()
    return found


if __name__ == "__main__":
    found = {name: observe(name) for name in MODELS}
    found |= {"features": features(), "optimizers": optimizers(), "parts": parts()}
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=0)
