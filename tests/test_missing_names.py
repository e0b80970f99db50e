"""The table of absent names is truthful: what it lists as absent is absent, and every entry gives its reason."""

import pytest

from tests.missing_names import TABLE, documented, exists, table


@pytest.mark.parametrize("path", sorted(table()))
def test_documented_as_absent_is_absent(path):
    namespace, _, name = path.removesuffix(".*").rpartition(".")
    assert not exists(namespace, name), f"{path} exists by now: take it out of {TABLE.name}"
    assert len(table()[path].split()) >= 3, f"{path} needs a reason"


def test_every_row_is_read():
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    assert len(table()) >= len(rows)


def test_a_name_below_a_pattern_is_documented(monkeypatch):
    monkeypatch.setattr("tests.missing_names.table", lambda: {"nn.quantized.*": "no integer kernels"})
    assert documented("nn.quantized.modules.Linear")
    assert not documented("nn.Linear")


def test_existence_follows_modules_and_attributes():
    assert exists("nn", "Linear")
    assert exists("optim", "lr_scheduler")
    assert not exists("nn", "Lineer")
    assert not exists("nn.no_such_module", "Linear")
