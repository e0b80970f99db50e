"""Which version this is: ``flambeau`` of the package, ``api`` of the PyTorch whose API it offers."""

from ._version import __version__ as flambeau
from .torch_version import TorchVersion

__all__ = ["__version__", "api", "cuda", "debug", "flambeau", "git_version", "hip", "xpu"]

api = "2.13.0"
#: What ``torch.__version__`` shows to programs.
__version__ = TorchVersion(f"{api}+flambeau.{flambeau}")
debug = False
cuda = None
git_version = "unknown"
hip = None
xpu = None
