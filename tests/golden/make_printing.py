"""Print, as JSON, how PyTorch prints a few hundred tensors: ``python make_printing.py > printing.json``."""

import json
import math
import random

import torch

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTEGERS = ["int8", "uint8", "int16", "int32", "int64", "uint16", "bool"]
COMPLEX = ["complex64", "complex128"]


def number(kind: str) -> str:
    """Source text of one value."""
    if kind == "whole":
        return repr(float(random.randint(-20, 20)))
    if kind == "large":
        return repr(random.uniform(-1, 1) * 10 ** random.randint(0, 12))
    if kind == "small":
        return repr(random.uniform(-1, 1) * 10.0 ** random.randint(-9, 0))
    if kind == "special":
        return random.choice(["0.0", "nan", "inf", "-inf", "1.5", "-2.0"])
    return repr(random.uniform(-3, 3))


def cases():
    plain = "torch.tensor({}, dtype=torch.{})"
    for name in FLOATS + COMPLEX + INTEGERS:
        for size in (0, 1, 2, 7, 30):
            for kind in ("whole", "large", "small", "special", "usual"):
                if name in INTEGERS:
                    values = [str(random.randint(0, 120)) for _ in range(size)]
                elif name in COMPLEX:
                    values = [f"complex({number(kind)}, {number('usual')})" for _ in range(size)]
                else:
                    values = [number(kind) for _ in range(size)]
                yield {}, plain.format("[" + ", ".join(values) + "]", name)
                if name in INTEGERS:
                    break
    for name in FLOATS + COMPLEX + INTEGERS:
        yield {}, plain.format("1", name)
        yield {}, f"torch.zeros(2, 3, dtype=torch.{name})"
        yield {}, f"torch.empty(2, 0, dtype=torch.{name})"
        yield {}, f"torch.empty(3, 2, dtype=torch.{name}, device='meta')"
    shapes = [
        "(1001,)",
        "(1000,)",
        "(40, 40)",
        "(3, 20, 20)",
        "(2, 2, 2, 2)",
        "(1100, 1)",
        "(7, 0, 2)",
        "(20, 2, 30)",
    ]
    options = [
        {},
        {"threshold": 5},
        {"threshold": 5, "edgeitems": 1},
        {"edgeitems": 2, "threshold": 10, "linewidth": 40},
        {"precision": 2},
        {"sci_mode": True},
        {"sci_mode": False, "precision": 1},
        {"profile": "short"},
        {"linewidth": 20, "threshold": 4},
        {"edgeitems": 0, "threshold": 4},
    ]
    for shape in shapes:
        size = math.prod(eval(shape))
        for given in options:
            yield given, f"torch.arange({size}, dtype=torch.float32).reshape{shape}"
            yield given, f"(torch.arange({size}, dtype=torch.float64) / 8 - 1).reshape{shape}"
            yield given, f"torch.arange({size}).reshape{shape}"
    yield {}, "torch.ones(2, requires_grad=True)"
    yield {}, "torch.ones(2, requires_grad=True) * 2"
    yield {}, "torch.ones(2, 2, requires_grad=True).t().exp()"
    yield {}, "torch.nn.Parameter(torch.ones(2, 2))"
    yield {}, "torch.nn.Parameter(torch.ones(2, dtype=torch.float64), requires_grad=False)"
    yield {}, "torch.arange(12.0).reshape(3, 4).t()[::2]"
    yield {}, "torch.ones(1).expand(4)"
    yield {}, "torch.ones(25, dtype=torch.float64, requires_grad=True)"


if __name__ == "__main__":
    random.seed(0)
    results = []
    names = {"torch": torch, "nan": math.nan, "inf": math.inf}
    for given, source in cases():
        torch.set_printoptions(profile="default")
        torch.set_printoptions(**given)
        text = repr(eval(source, names))
        if len(text) < 3000:
            results.append([given, source, text])
    print(json.dumps(results, separators=(",", ":")))
