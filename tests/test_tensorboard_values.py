"""What of TensorBoard's support needs no tensorboard. Files are compared with PyTorch's in tests/programs."""

import importlib
import importlib.util
import io
import sys
import wave

import numpy as np
import pytest

import flambeau
from flambeau.utils import _tensorboard_values as values


def test_without_the_package_the_import_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("flambeau.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else find(name, *rest)
    )
    with pytest.raises(ImportError, match="pip install tensorboard") as caught:
        importlib.import_module("flambeau.utils.tensorboard")
    assert caught.value.name == "tensorboard"


def test_numbers():
    assert values.one_number(flambeau.tensor([[2.5]], requires_grad=True)) == values.one_number(2.5) == 2.5
    assert values.make_np(flambeau.ones(2, dtype=flambeau.bfloat16)).dtype == np.float32
    with pytest.raises(AssertionError, match="0D"):
        values.one_number(flambeau.ones(2))
    for bad in ("a", None, [1]):
        with pytest.raises(NotImplementedError):
            values.make_np(bad)


def test_histograms():
    ramp = np.arange(60)
    found = values.histogram(ramp, [0, 10, 20, 40, 60])
    assert found["bucket"] == [0, 10, 10, 20, 20] and found["bucket_limit"] == [0, 10, 20, 40, 60]
    assert [found[name] for name in ("min", "max", "num", "sum", "sum_squares")] == [0, 59, 60, 1770, 70210]
    found = values.histogram(np.ones(3), "tensorflow")
    assert found["bucket"] == [0, 3] and found["bucket_limit"] == pytest.approx(
        [0.917246389039776, 1.0089710279437536]
    )
    found = values.histogram(np.linspace(-1, 1, 60), "tensorflow", max_bins=20)
    assert sum(found["bucket"]) == 60 and len(found["bucket"]) == len(found["bucket_limit"]) <= 21
    for bad, text in ((np.ones(0), "no element"), (np.full(2, 7.0), "No value lies")):
        with pytest.raises(ValueError, match=text):
            values.histogram(bad, [0, 1])


def test_pictures():
    pictures = np.arange(9 * 2 * 3 * 1, dtype=np.uint8).reshape(9, 2, 3, 1)
    found = values.grid(pictures)
    assert (
        found.shape == (4, 24, 1)
        and (found[:2, 3:6] == pictures[1]).all()
        and (found[2:, :3] == pictures[8]).all()
    )
    assert not found[2:, 3:].any()
    picture = np.arange(24.0).reshape(3, 2, 4)
    assert (values.to_hwc(picture, "chw") == picture.transpose(1, 2, 0)).all()
    assert values.to_hwc(picture[0], "HW").shape == (2, 4, 3) and values.to_hwc(
        picture[None], "NCHW"
    ).shape == (2, 4, 3)
    assert values.to_bytes(np.array([-1, 0, 0.5, 1, 2])).tolist() == [0, 0, 127, 255, 255]
    for order, text in (("CCW", "twice"), ("HW", "different"), ("CHX", "expected the letters")):
        with pytest.raises(AssertionError, match=text):
            values.to_hwc(picture, order)


def test_picture_files():
    Image = pytest.importorskip("PIL.Image", reason="Pillow draws what is compared")
    black = np.zeros((20, 30, 3), np.uint8)
    image = Image.open(io.BytesIO(values.png(black, boxes=np.array([[5.0, 5.0, 20.0, 15.0]]))))
    assert (
        image.size == (30, 20)
        and image.getpixel((5, 10)) == (255, 0, 0)
        and image.getpixel((12, 10)) == (0, 0, 0)
    )
    assert Image.open(io.BytesIO(values.png(black, rescale=0.5))).size == (15, 10)
    video = np.stack([black + i for i in (0, 100, 200)])
    image = Image.open(io.BytesIO(values.gif(video, fps=10)))
    assert (image.n_frames, image.info["duration"], image.info["loop"]) == (3, 100, 0)


def test_sounds():
    encoded, length = values.wav(np.array([[-1.0, 0.0, 0.5, 1.0]]), 8000)
    with wave.open(io.BytesIO(encoded)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), length) == (1, 2, 8000, 4)
        assert np.frombuffer(file.readframes(-1), "<i2").tolist() == [-32767, 0, 16383, 32767]
    with pytest.warns(UserWarning, match="auto clipped"):
        values.wav(np.array([2.0, 0.0]), 8000)
    with pytest.raises(AssertionError, match="1 dimensional"):
        values.wav(np.zeros((2, 3)), 8000)


def test_precision_and_recall():
    labels, predictions = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.4, 0.1])
    true, false, true_negative, false_negative, precision, recall = values.pr_curve(labels, predictions, 3)
    assert true.tolist() == [2, 1, 0] and false.tolist() == [2, 1, 0]
    assert true_negative.tolist() == [0, 1, 2] and false_negative.tolist() == [0, 1, 2]
    assert precision.tolist() == [0.5, 0.5, 0] and recall.tolist() == [1, 0.5, 0]
    weighted = values.pr_curve(labels, predictions, 3, np.array([1.0, 2, 3, 4]))
    assert weighted[0].tolist() == [4, 1, 0] and weighted[1].tolist() == [6, 2, 0]
