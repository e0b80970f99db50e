"""PyTorch's own databases drive both libraries and compare them: `python -m tests.conformance`.

Besides the operators there are the modules (`modules.py`), the optimizers (`optimizers.py`) and the public names
(`names.py`), each with a list of what has to pass.

The operator database (`torch.testing._internal.common_methods_invocations.op_db`) holds, per operator, its dtypes,
sample inputs, error inputs and variants. Every sample goes through PyTorch and, converted, through flambeau, in one
process; see `check.py` for what is compared. `FLAMBEAU_CONFORMANCE_PEER=torch` lets PyTorch play flambeau's part too:
then all must pass, which tests the harness itself.
"""
