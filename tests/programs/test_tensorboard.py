"""What of a SummaryWriter the comparison with PyTorch's files (tensorboard_logs.py) leaves out."""

import io
import os
import socket
import sys

import pytest

import flambeau

pytest.importorskip("tensorboard", reason="`make programs` makes an environment for these tests")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from flambeau.utils.tensorboard import FileWriter, SummaryWriter, summary  # noqa: E402


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def test_the_default_folder_says_when_and_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(comment="_x") as writer:
        writer.add_scalar("a", 1)
    (name,) = os.listdir("runs")
    assert name.endswith(f"_{socket.gethostname()}_x") and writer.get_logdir() == os.path.join("runs", name)
    assert read(f"runs/{name}").Scalars("a")[0].value == 1


def test_what_is_flushed_can_be_read_and_a_closed_writer_goes_on(tmp_path):
    writer = SummaryWriter(tmp_path)
    writer.add_scalar("a", 1, 1)
    writer.flush()
    assert len(read(tmp_path).Scalars("a")) == 1
    writer.close()
    writer.close()
    writer.add_scalar("a", 2, 2)
    writer.close()
    assert len(list(tmp_path.iterdir())) in (1, 2)  # two files, or one where both were opened in one second


def test_records_are_made_without_a_writer_too(tmp_path):
    experiment, start, end = summary.hparams({"lr": 0.1}, {"loss": 1.0})
    writer = FileWriter(str(tmp_path), filename_suffix=".end")
    for record in (experiment, start, end, summary.scalar("loss", flambeau.tensor(1.0))):
        writer.add_summary(record, flambeau.tensor(3))
    writer.close()
    assert read(tmp_path).Scalars("loss")[0].step == 3
    assert [path.suffix for path in tmp_path.iterdir()] == [".end"]
    with pytest.raises(NotImplementedError):
        writer.reopen()


def test_a_video_moves(tmp_path):
    from PIL import Image

    with SummaryWriter(tmp_path) as writer:
        writer.add_video("v", flambeau.rand(3, 4, 3, 5, 6), 1, fps=5)
        writer.add_video("gray", flambeau.rand(1, 2, 1, 5, 6), 1)
        with pytest.raises(ValueError, match="shape"):
            writer.add_video("v", flambeau.rand(4, 3, 5, 6))
    (event,) = read(tmp_path).Images("v")
    image = Image.open(io.BytesIO(event.encoded_image_string))
    assert (image.format, image.n_frames, image.size, image.info["duration"]) == ("GIF", 4, (18, 5), 200)


def test_figures_and_boxes_with_names(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="figures are drawn with it")
    pyplot.switch_backend("agg")
    figures = [pyplot.figure(figsize=(2, 1), dpi=50) for _ in range(2)]
    with SummaryWriter(tmp_path) as writer:
        writer.add_figure("one", figures[0], 1, close=False)
        assert pyplot.get_fignums()
        writer.add_figure("two", figures, 1)
        assert not pyplot.get_fignums()
        boxes = flambeau.tensor([[2.0, 20.0, 30.0, 38.0]])
        for labels in (["cat"], "cat", ["cat", "too many"]):
            writer.add_image_with_boxes("b", flambeau.zeros(3, 40, 40), boxes, labels=labels)
    found = read(tmp_path)
    assert [(e.width, e.height) for e in found.Images("one") + found.Images("two")] == [(100, 50), (200, 50)]
    assert len(found.Images("b")) == 3


@pytest.mark.parametrize(
    "call, error, text",
    [
        (
            lambda w: w.add_graph(flambeau.nn.Linear(1, 1), flambeau.ones(1)),
            NotImplementedError,
            "traces no programs",
        ),
        (lambda w: w.add_onnx_graph("x"), NotImplementedError, "ONNX"),
        (lambda w: w.add_scalar("a", flambeau.ones(2)), AssertionError, "scalar should be 0D"),
        (lambda w: w.add_scalar("a", "b"), NotImplementedError, "expected a tensor"),
        (lambda w: w.add_histogram("a", flambeau.ones(0)), ValueError, "no element"),
        (lambda w: w.add_histogram_raw("a", 0, 1, 1, 1, 1, [1], [1, 2]), ValueError, "bucket_limits"),
        (lambda w: w.add_image("a", flambeau.ones(2, 2)), AssertionError, "size of input tensor"),
        (lambda w: w.add_embedding(flambeau.ones(2)), AssertionError, "2D"),
        (lambda w: w.add_embedding(flambeau.ones(2, 2), metadata=["a"]), AssertionError, "#labels"),
        (lambda w: w.add_hparams([], {}), TypeError, "hparam_dict should be a dictionary"),
        (lambda w: w.add_hparams({"a": []}, {}), ValueError, "value should be one of"),
        (lambda w: w.add_hparams({"a": 1}, {}, {"a": ["x"]}), TypeError, "same type"),
        (lambda w: w.add_hparams({"a": 1}, {}, {"b": [1]}), TypeError, "hparam_domain_discrete"),
        (lambda w: w.add_custom_scalars_marginchart(["a"]), AssertionError, "three tags"),
    ],
)
def test_what_cannot_be_written(call, error, text, tmp_path):
    with SummaryWriter(tmp_path) as writer, pytest.raises(error, match=text):
        call(writer)


def test_the_package_is_not_loaded_before_it_is_needed():
    import subprocess

    code = "import sys, flambeau, flambeau.utils; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
