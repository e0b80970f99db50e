"""The profiler: what it sees, how it sums it up, what it writes."""

import gzip
import json
import threading

import pytest

import flambeau as torch
from flambeau.profiler import ProfilerAction, profile, record_function, schedule, tensorboard_trace_handler


def names(events):
    return [event.name for event in events]


def test_operators_nodes_and_named_parts_are_seen_and_nested():
    x = torch.ones(3, 2, requires_grad=True)
    with profile() as prof:
        with record_function("forward"):
            y = (x * 2).exp().sum()
        y.backward()
    events = prof.events()
    assert names(events)[:4] == ["forward", "aten::mul", "aten::exp", "aten::sum"]
    assert {"SumBackward0", "ExpBackward0", "MulBackward0"} <= set(names(events))
    forward, mul = events[0], events[1]
    assert mul.cpu_parent is forward and [e.name for e in forward.cpu_children] == names(events)[1:4]
    assert forward.time_range.start <= mul.time_range.start <= mul.time_range.end <= forward.time_range.end
    inside = sum(child.cpu_time_total for child in forward.cpu_children)
    assert forward.self_cpu_time_total == pytest.approx(forward.cpu_time_total - inside)
    backward = next(e for e in events if e.name == "MulBackward0")
    assert "aten::mul" in names(backward.cpu_children)


def test_nothing_is_seen_outside_or_on_other_threads():
    torch.ones(2)
    with profile() as prof:
        other = threading.Thread(target=lambda: torch.ones(2).exp())
        other.start()
        other.join()
        torch.zeros(2)
    torch.ones(2)
    assert names(prof.events()) == ["aten::zeros"]


def test_sums_by_name_shape_and_line():
    a, b = torch.ones(3, 4), torch.ones(2)
    with profile(record_shapes=True, with_stack=True) as prof:
        a + a
        b + b
        b + 1
    by_name = prof.key_averages()
    assert [(e.key, e.count) for e in by_name] == [("aten::add", 3)]
    assert by_name[0].cpu_time_total == pytest.approx(sum(e.cpu_time_total for e in prof.events()))
    by_shape = prof.key_averages(group_by_input_shape=True)
    assert [e.input_shapes for e in by_shape] == [[[3, 4], [3, 4]], [[2], [2]], [[2]]]
    by_line = prof.key_averages(group_by_stack_n=1)
    assert len(by_line) == 3 and all("test_profiler.py" in e.stack[0] for e in by_line)
    assert by_name.total_average().count == 3


def test_time_inside_the_same_name_counts_once():
    with profile() as prof, record_function("part"), record_function("part"):
        torch.ones(2)
    part = next(e for e in prof.key_averages() if e.key == "part")
    assert part.count == 2 and part.cpu_time_total == prof.events()[0].cpu_time_total


def test_memory():
    with profile(profile_memory=True) as prof:
        kept = torch.ones(1 << 16)
        kept.exp()
    ones, exp = prof.events()
    assert ones.cpu_memory_usage == exp.cpu_memory_usage == 4 << 16
    assert "256.00 KB" in prof.key_averages().table()


def test_the_table():
    with profile(record_shapes=True) as prof:
        for _ in range(3):
            torch.ones(2).exp()
    text = prof.key_averages(group_by_input_shape=True).table(sort_by="count", row_limit=1, header="mine")
    lines = text.splitlines()
    assert lines[1] == "mine" and lines[3].split()[0] == "Name"
    assert "Input Shapes" in lines[3] and sum("aten::" in line for line in lines) == 1
    assert lines[-1].startswith("Self CPU time total: ")
    with pytest.raises(AttributeError, match="sort_by='speed' is no figure of a profile"):
        prof.key_averages().table(sort_by="speed")


def test_the_trace_and_the_stacks(tmp_path):
    with profile(record_shapes=True, with_stack=True) as prof, record_function("part"):
        torch.ones(200, 200) @ torch.ones(200, 200)
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    trace = json.loads((tmp_path / "trace.json").read_text())
    spans = trace["traceEvents"]
    assert [s["name"] for s in spans] == names(prof.events()) and {s["ph"] for s in spans} == {"X"}
    assert spans[0]["cat"] == "user_annotation" and spans[-1]["cat"] == "cpu_op"
    assert spans[-1]["args"]["Input Dims"] == [[200, 200], [200, 200]]
    prof.export_stacks(str(tmp_path / "stacks"))
    assert "test_profiler.py" in (tmp_path / "stacks").read_text()


def test_a_schedule_makes_rounds(tmp_path):
    seen = []
    plan = schedule(wait=1, warmup=1, active=2, repeat=2)
    handler = tensorboard_trace_handler(str(tmp_path), "worker", use_gzip=True)

    def ready(prof):
        seen.append(names(prof.events()))
        handler(prof)

    with profile(schedule=plan, on_trace_ready=ready) as prof:
        for step in range(10):
            torch.ones(2) if step % 2 else torch.zeros(2)
            prof.step()
    assert seen == [
        ["ProfilerStep#2", "aten::zeros", "ProfilerStep#3", "aten::ones"],
        ["ProfilerStep#6", "aten::zeros", "ProfilerStep#7", "aten::ones"],
    ]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2 and all(file.name.startswith("worker.") for file in files)
    assert len(json.loads(gzip.decompress(files[0].read_bytes()))["traceEvents"]) == 4
    assert plan(3) is ProfilerAction.RECORD_AND_SAVE


def test_errors_end_spans_and_profiles():
    with pytest.raises(RuntimeError, match="cannot be multiplied"), profile() as prof:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert all(e.time_range.end >= e.time_range.start for e in prof.events())
    with profile(), pytest.raises(RuntimeError, match="already enabled"), profile():
        pass
    with pytest.raises(AssertionError, match="has recorded nothing yet"):
        profile().events()


def test_a_forgotten_profile_can_be_ended():
    enabled, disable = torch.autograd._profiler_enabled, torch.autograd._disable_profiler
    assert not enabled()
    with profile() as prof:
        torch.ones(1).exp()
        assert enabled()
        disable()
        torch.ones(1).sin()
    assert not enabled() and "aten::exp" in names(prof.events()) and "aten::sin" not in names(prof.events())
    disable()


def test_record_function_decorates():
    @record_function("named")
    def f(x):
        return x + 1

    assert f(torch.ones(1)).item() == 2
    with profile() as prof:
        f(torch.ones(1))
    assert names(prof.events()) == ["aten::ones", "named", "aten::add"]


def test_the_older_form():
    with torch.autograd.profiler.profile(enabled=False) as off:
        torch.ones(2)
    assert str(off) == "<unfinished torch.autograd.profile>"
    with torch.autograd.profiler.profile(record_shapes=True) as prof:
        torch.ones(2).exp()
    assert names(prof.function_events) == ["aten::ones", "aten::exp"]
    assert prof.total_average().count == 2 and "aten::exp" in str(prof) and prof.self_cpu_time_total > 0


def test_metadata_and_the_name_of_a_recording_stand_in_the_trace(tmp_path):
    prof = profile(custom_trace_id_callback=lambda: "mine", post_processing_timeout_s=3.0)
    assert prof.get_trace_id() is None
    prof.add_metadata("early", "is dropped")
    prof.preset_metadata_json("preset", "[1]")
    with prof:
        prof.add_metadata("text", 'a "word"')
        prof.add_metadata_json("value", '{"a": 1}')
        torch.ones(1)
    assert prof.get_trace_id() == "mine"
    prof.export_chrome_trace(str(tmp_path / "trace.json"), use_python_export=False)
    whole = json.loads((tmp_path / "trace.json").read_text())
    assert whole["trace_id"] == "mine" and whole["text"] == 'a "word"' and whole["value"] == {"a": 1}
    assert whole["preset"] == [1] and "early" not in whole
    with profile() as one, pytest.raises(ValueError):
        one.add_metadata_json("value", "no JSON")
    with profile() as other:
        pass
    assert one.get_trace_id() != other.get_trace_id()


def test_tracing_begins_and_ends_by_hand():
    prof = profile()
    prof.prepare_trace()
    prof.start_trace()
    torch.ones(1)
    prof.stop_trace()
    assert [event.name for event in prof.events()] == ["aten::ones"]


def test_times_in_one_unit():
    with profile() as prof:
        torch.ones(1)
    sums = prof.events().key_averages(group_by_input_shapes=True)
    for unit in ("s", "ms", "us"):
        row = sums.table(time_unit=unit).splitlines()[3].split()
        assert all(
            cell.endswith(unit) and cell[: -len(unit)][-1].isdigit() for cell in (row[2], row[4], row[5])
        )
    assert sums.supported_export_stacks_metrics() == ["self_cpu_time_total"]
