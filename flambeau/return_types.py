"""The named tuples that operators with several results return."""

from . import _C
from ._ops.registry import records
from ._tensor.plain_pickles import _reduce_results

histogram = _C._result_type("histogram", ("hist", "bin_edges"))
histogramdd = _C._result_type("histogramdd", ("hist", "bin_edges"))
linalg_qr = _C._result_type("linalg_qr", ("Q", "R"))

globals().update(
    {
        record.op.__name__.partition(".")[0]: record.op.result_type
        for name, record in records.items()
        if record.op.result_type is not None and not name.startswith("_")
    }
)
for _type in list(globals().values()):
    if isinstance(_type, type) and issubclass(_type, tuple):
        _type.__reduce__ = _reduce_results
