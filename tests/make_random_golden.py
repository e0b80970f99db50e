"""The random cases that flambeau and PyTorch must agree on bit for bit, and the writer of their golden fingerprints.

`python tests/make_random_golden.py` runs every case under real PyTorch 2.13 and writes tests/data/random_golden.json.
A case is an expression in `t`, the library under test; it is evaluated right after `t.manual_seed(SEED)`. Its
fingerprint is a hash of the result's bytes and of the generator's state afterwards, with a few values for the reader.
"""

import hashlib
import json
from pathlib import Path

SEED = 20240229
GOLDEN = Path(__file__).parent / "data" / "random_golden.json"

FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
# Around the thresholds of the recipes: nothing, one, a block less one, a block, ragged ends, many twister blocks.
SIZES = (0, 1, 3, 15, 16, 17, 31, 32, 100, 5003)


def cases():
    for n in SIZES:
        for d in FLOATS:
            empty = f"t.empty({n}, dtype=t.{d})"
            yield f"t.rand({n}, dtype=t.{d})"
            yield f"{empty}.uniform_(-0.3, 2.7)"
            yield f"t.randn({n}, dtype=t.{d})"
            yield f"{empty}.normal_(0.3, 2.7)"
            yield f"t.empty({n}, 2, dtype=t.{d})[:, 0].normal_()"
            yield f"{empty}.exponential_(0.7)"
            yield f"{empty}.cauchy_(0.3, 2.0)"
            yield f"{empty}.log_normal_(0.3, 0.5)"
            yield f"{empty}.bernoulli_(t.arange({n}, dtype=t.{d}) / {max(n, 1)})"
            yield f"t.bernoulli(t.arange({n}, dtype=t.{d}) / {max(n, 1)})"
        for d in COMPLEX:
            yield f"t.rand({n}, dtype=t.{d})"
            yield f"t.randn({n}, dtype=t.{d})"
        for d in ("bool", *INTEGERS, *FLOATS):
            yield f"t.empty({n}, dtype=t.{d}).random_()"
            yield f"t.empty({n}, dtype=t.{d}).random_(0, 2)"
            yield f"t.empty({n}, dtype=t.{d}).bernoulli_(0.3)"
            if d != "bool":
                yield f"t.empty({n}, dtype=t.{d}).geometric_(0.3)"
                if n <= 100:
                    yield f"t.randperm({n}, dtype=t.{d})"
        yield f"t.randperm({n})"
        yield f"t.randint(10, ({n},))"
    # Bounds that a dtype rounds, and the threshold where draws become 64 bits wide.
    for d in ("bfloat16", "float32", "float64", "int32", "int64"):
        for low, high in (
            (-5, 100),
            (0, 2**28 - 1),
            (0, 2**28),
            (1, 2**28),
            (-(2**30), 2**30),
            (-100, 2**24),
        ):
            yield f"t.empty(200, dtype=t.{d}).random_({low}, {high})"
        yield f"t.empty(200, dtype=t.{d}).random_(-7, None)"
    for d in ("bfloat16", "float32", "float64", "int64"):
        yield f"t.empty(200, dtype=t.{d}).random_(-2**63, None)"
    yield "t.randint(-2**62, 2**62 + 1, (200,))"
    # Spare samples of the pairwise recipe carry over between calls, whatever the dtype.
    yield "t.cat([t.randn(3), t.randn(1), t.randn(5, dtype=t.float64).float(), t.rand(2), t.randn(16), t.randn(2)])"
    # Memory order rules, not logical order.
    for fill in ("uniform_()", "normal_()", "exponential_()", "bernoulli_(0.4)", "random_()"):
        yield f"t.empty(5, 7, 4).permute(2, 0, 1).{fill}"
        yield f"t.empty(10, 8)[:, :4].{fill}"
    yield "t.empty(2, 3, 4, 4).contiguous(memory_format=t.channels_last).normal_()"
    yield "t.bernoulli((t.arange(30) / 30).reshape(5, 6).t())"
    yield "t.poisson((t.arange(30) / 7).reshape(5, 6).t())"
    # Composites.
    yield "t.normal(t.arange(20) / 4, t.arange(20) / 8)"
    yield "t.normal(t.arange(4).float()[:, None], t.arange(5) / 8)"
    yield "t.normal(1.5, t.arange(20) / 8)"
    yield "t.normal(t.arange(20) / 4, 2.5)"
    yield "t.normal(1.5, 2.5, (20,))"
    yield "t.nn.functional.dropout(t.arange(5000) / 8, 0.3)"
    for d in ("float32", "float64"):
        weights = f"(t.arange(40, dtype=t.{d}) / 8).reshape(4, 10)"
        yield f"t.multinomial({weights}, 1)"
        yield f"t.multinomial({weights}, 5)"
        yield f"t.multinomial({weights}, 100, replacement=True)"
        rates = f"t.arange(300, dtype=t.{d})"
        yield f"t.poisson({rates} / 8)"
        yield f"t.binomial({rates}, ({rates} % 41) / 40)"
        yield f"t._standard_gamma({rates} / 16)"
        yield f"t._sample_dirichlet(({rates} / 16 + 0.125).reshape(12, 25))"
        yield f"t._sample_dirichlet(({rates} / 16 + 0.125).reshape(100, 3))"
    yield "t.nn.init.kaiming_uniform_(t.empty(7, 5))"
    yield "t.nn.init.kaiming_normal_(t.empty(7, 5))"
    yield "t.nn.init.xavier_uniform_(t.empty(7, 5))"


def fingerprint(t, expression):
    t.manual_seed(SEED)
    result = eval(expression, {"t": t})
    state = t.get_rng_state()
    dtype = str(result.dtype).removeprefix("torch.").removeprefix("flambeau.")
    values = t.view_as_real(result) if result.is_complex() else result
    integer = {1: t.uint8, 2: t.int16, 4: t.int32, 8: t.int64}[values.element_size()]
    bits = values.contiguous().view(integer).flatten().tolist()
    size = values.element_size()
    data = b"".join((b & (1 << 8 * size) - 1).to_bytes(size, "little") for b in bits)
    return {
        "dtype": dtype,
        "shape": list(result.shape),
        "sha": hashlib.sha256(data).hexdigest()[:16],
        "head": repr(values.double().flatten()[:3].tolist()),
        "state": hashlib.sha256(bytes(state.tolist())).hexdigest()[:16],
    }


def main():
    import torch

    assert torch.__version__.startswith("2.13"), torch.__version__
    golden = {expression: fingerprint(torch, expression) for expression in cases()}
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items())
    GOLDEN.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
