"""Writing what TensorBoard shows: `SummaryWriter`. The package ``tensorboard`` itself is needed, which brings the format."""

import importlib.util

if importlib.util.find_spec("tensorboard") is None:
    raise ImportError(
        "torch.utils.tensorboard needs the package tensorboard, which is not installed: pip install tensorboard",
        name="tensorboard",
    )

from tensorboard.summary.writer.record_writer import RecordWriter

from .writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]
