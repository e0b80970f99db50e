"""Every example in the documentation of a public name runs and prints what it says."""

import doctest
import importlib
import inspect

import pytest

import flambeau
from flambeau import distributions, nn
from flambeau._ops import registry

#: Modules whose public functions and classes are documented, beside the operators.
MODULES = """
    autograd autograd.forward_ad autograd.functional autograd.gradcheck distributions distributions.constraints
    distributions.transforms func
    distributions.constraint_registry distributions.kl distributions.utils linalg masked nn nn.functional nn.init
    nn.parameter nn.utils nn.utils.rnn optim optim.lr_scheduler overrides random serialization signal.windows special
    testing utils.data _settings _tensor.legacy _tensor.interop
    contrib.moe distributed distributed.algorithms.join distributed.device_mesh
    distributed.elastic.multiprocessing.errors distributed.nn.functional
    distributed.optim distributed.tensor.experimental._context_parallel
    distributed.tensor.experimental._context_parallel._load_balancer futures nn.parallel
    amp.autocast_mode compiler contrib.scipy_optimize export jit library profiler utils._pytree _symbolic
    autograd.profiler profiler.events utils.flop_counter utils._python_dispatch utils._selective_checkpoint _aten
    _dispatch_keys _higher_order_ops.associative_scan _higher_order_ops.control_flow
    utils.benchmark utils.collect_env utils.module_tracker utils._pytree_text utils._pytree_types _overridable cpu
    cpu.amp __config__ _native_names _functorch _tensor_str utils._foreach_utils distributed.rpc cuda.nvtx _jit_internal
""".split()

#: What examples may use without importing it.
NAMES = {
    **vars(distributions.utils),
    **vars(distributions.constraints),
    **{name: getattr(distributions, name) for name in distributions.__all__},
    "flambeau": flambeau,
    "nn": nn,
    "F": nn.functional,
}

parser = doctest.DocTestParser()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def documents():
    """(name, docstring) of everything public that has an example."""
    for name, record in registry.records.items():
        yield name, record.doc
    for kind, table in (("", registry.functions), ("Tensor.", registry.methods)):
        for name, made in table.items():
            if inspect.isfunction(inspect.unwrap(made)):
                yield kind + name, made.__doc__
    for module_name in MODULES:
        module = importlib.import_module("flambeau." + module_name)
        yield module_name, module.__doc__
        for name in sorted(set(dir(module))):
            value = getattr(module, name)
            if name.startswith("_") or not str(getattr(value, "__module__", "")).startswith("flambeau"):
                continue
            if inspect.isfunction(inspect.unwrap(value)):
                yield f"{module_name}.{name}", value.__doc__
            elif inspect.isclass(value):
                yield f"{module_name}.{name}", value.__dict__.get("__doc__")
                for method, function in vars(value).items():
                    if inspect.isfunction(function):
                        yield f"{module_name}.{name}.{method}", function.__doc__


def examples():
    """Documents with examples, each text once."""
    seen = {}
    for name, text in documents():
        if text and ">>>" in text:
            seen.setdefault(text, name)
    return {name: text for text, name in seen.items()}


@pytest.mark.parametrize("name, text", examples().items(), ids=lambda v: v if ">>>" not in v else "")
def test_examples(name, text):
    flambeau.manual_seed(0)
    test = parser.get_doctest(text, dict(NAMES), name, None, 0)
    report = []
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=report.append, clear_globs=True)
    assert not report, "".join(report)
