"""Workloads that feed programs: loaders with and without workers, files."""

import io
import tempfile

from .registry import workload

IMAGES = 2048


def image_loader(torch, **arguments):
    """Batches of 64 from a dataset that returns one image and its number."""
    images = torch.rand(IMAGES, 3, 64, 64)

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return IMAGES

        def __getitem__(self, i):
            return images[i], i

    return torch.utils.data.DataLoader(Images(), batch_size=64, shuffle=True, **arguments)


def epoch(loader):
    def run():
        for x, y in loader:
            assert len(x) == len(y)

    return run


@workload("loader, images 3x64x64, no workers", target=1)
def loader(torch):
    return epoch(image_loader(torch))


@workload("loader, images 3x64x64, 2 workers that stay", target=1)
def loader_with_workers(torch):
    return epoch(image_loader(torch, num_workers=2, persistent_workers=True, multiprocessing_context="fork"))


@workload("loader, images 3x64x64, 2 workers started anew", target=1)
def loader_with_new_workers(torch):
    return epoch(image_loader(torch, num_workers=2, multiprocessing_context="fork"))


@workload("loader, TensorDataset of rows of 32, no workers", target=1)
def loader_of_rows(torch):
    data = torch.utils.data.TensorDataset(torch.rand(8192, 32), torch.zeros(8192, dtype=torch.long))
    return epoch(torch.utils.data.DataLoader(data, batch_size=64, shuffle=True))


class Checkpoint:
    """A file of 500 MB, there for as long as it is used."""

    def __init__(self, torch):
        self.folder = tempfile.TemporaryDirectory(prefix="flambeau-benchmark-")
        self.path = self.folder.name + "/model.pt"
        self.tensors = {f"layer{i}.weight": torch.rand(1000, 1250) for i in range(100)}


@workload("save 500 MB", target=1)
def save(torch):
    file = Checkpoint(torch)
    return lambda: torch.save(file.tensors, file.path)


@workload("load 500 MB", target=1)
def load(torch):
    file = Checkpoint(torch)
    torch.save(file.tensors, file.path)
    return lambda: torch.load(file.path)


@workload("load 500 MB, mapped, and read a corner of each tensor", target=1)
def load_mapped(torch):
    file = Checkpoint(torch)
    torch.save(file.tensors, file.path)
    return lambda: [tensor[0, 0].item() for tensor in torch.load(file.path, mmap=True).values()]


@workload("save and load 500 tensors of 64, in memory", target=1)
def small_tensors(torch):
    tensors = {f"layer{i}.bias": torch.rand(64) for i in range(500)}

    def run():
        file = io.BytesIO()
        torch.save(tensors, file)
        file.seek(0)
        return torch.load(file)

    return run
