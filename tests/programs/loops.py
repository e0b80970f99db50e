"""lightning: a Trainer in several precisions with callbacks and checkpoints, and a loop under Fabric.

`python loops.py OUT.json` writes what it observes; run by flambeau in a test, by PyTorch for the golden file.
"""

import json
import logging
import os
import sys
import tempfile
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
logging.getLogger("lightning.fabric").setLevel(logging.ERROR)

WAYS = {
    "float32": {},
    "bfloat16": dict(precision="bf16-mixed"),
    "float64": dict(precision="64-true"),
    "accumulated": dict(accumulate_grad_batches=2, gradient_clip_val=0.5),
}


class Regression(L.LightningModule):
    def __init__(self, width=16):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 1))
        self.losses = []

    def training_step(self, batch, index):
        loss = nn.functional.mse_loss(self.layers(batch[0]), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        self.losses.append(float(loss))
        return loss

    def validation_step(self, batch, index):
        self.log("validation", nn.functional.mse_loss(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)}


def batches():
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.randn(32, 4, generator=generator), torch.randn(32, 1, generator=generator))
    return DataLoader(data, 8, shuffle=True)


def trained(way, folder):
    L.seed_everything(2, verbose=False)
    model, loader = Regression(), batches()
    best = ModelCheckpoint(dirpath=folder, filename="best", monitor="validation")
    trainer = L.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[best, EarlyStopping("validation", patience=5)],
        default_root_dir=folder,
        **WAYS[way],
    )
    trainer.fit(model, loader, loader)
    loaded = Regression.load_from_checkpoint(best.best_model_path)
    return {
        "losses": model.losses,
        "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        "weights": [float(p.detach().double().sum()) for p in loaded.parameters()],
        "width": loaded.hparams.width,
        "files": sorted(os.listdir(folder)),
    }


def by_hand(folder):
    fabric = L.Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    L.seed_everything(3, verbose=False)
    model = nn.Linear(4, 1)
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
    losses = []
    for inputs, targets in fabric.setup_dataloaders(batches()):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        fabric.backward(loss)
        optimizer.step()
        losses.append(float(loss))
    path = os.path.join(folder, "state.ckpt")
    fabric.save(path, {"model": model, "optimizer": optimizer})
    before = model.weight.detach().clone()
    nn.init.zeros_(model.weight)
    fabric.load(path, {"model": model, "optimizer": optimizer})
    return {"losses": losses, "same": torch.equal(model.weight, before)}


if __name__ == "__main__":
    found = {}
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            found[way] = trained(way, folder)
    with tempfile.TemporaryDirectory() as folder:
        found["by hand"] = by_hand(folder)
    with open(sys.argv[1], "w") as file:
        json.dump(found, file, indent=0)
