"""The named tuples that operators with several results return."""

from . import _C
from ._ops.registry import records
from ._tensor.plain_pickles import _reduce_results

histogram = _C._result_type("histogram", ("hist", "bin_edges"))
histogramdd = _C._result_type("histogramdd", ("hist", "bin_edges"))
for _name, _fields in {
    "lu_unpack": "P L U",
    "qr": "Q R",
    "slogdet": "sign logabsdet",
    "svd": "U S V",
    "triangular_solve": "solution cloned_coefficient",
    "linalg_eig": "eigenvalues eigenvectors",
    "linalg_eigh": "eigenvalues eigenvectors",
    "linalg_inv_ex": "inverse info",
    "linalg_ldl_factor": "LD pivots",
    "linalg_lstsq": "solution residuals rank singular_values",
    "linalg_lu": "P L U",
    "linalg_lu_factor": "LU pivots",
    "linalg_slogdet": "sign logabsdet",
    "linalg_solve_ex": "result info",
    "linalg_svd": "U S Vh",
}.items():
    globals()[_name] = _C._result_type(_name, tuple(_fields.split()))

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
