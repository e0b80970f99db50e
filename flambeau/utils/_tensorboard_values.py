"""Values as TensorBoard keeps them: histograms, pictures, sounds, curves. NumPy is enough here, and Pillow for pictures."""

from __future__ import annotations

import functools
import io
import warnings
import wave

import numpy as np

import flambeau


def make_np(x) -> np.ndarray:
    """A tensor, an array, a number or a list as an array.

    Raises:
        NotImplementedError: it is something else.
    """
    if isinstance(x, flambeau.Tensor):
        x = x.detach()
        return (x.float() if x.dtype == flambeau.bfloat16 else x).numpy()
    if isinstance(x, np.ndarray):
        return x
    if np.isscalar(x) and not isinstance(x, (str, bytes)):
        return np.array([x])
    raise NotImplementedError(f"Got {type(x)}, but expected a tensor, an array or a number.")


def one_number(x) -> float:
    """The only element of a value."""
    x = make_np(x).squeeze()
    if x.ndim:
        raise AssertionError(f"scalar should be 0D, but has shape {x.shape}")
    return float(x)


# ---- histograms


@functools.cache
def default_bins() -> np.ndarray:
    """Edges that grow by a tenth from 1e-12 to 1e20, on either side of zero."""
    edges, edge = [], 1e-12
    while edge < 1e20:
        edges.append(edge)
        edge *= 1.1
    return np.array([*(-edge for edge in reversed(edges)), 0.0, *edges])


def histogram(values: np.ndarray, bins, max_bins: int | None = None) -> dict:
    """Counts between edges, without the empty ends, and the moments.

    Args:
        bins: ``"tensorflow"`` for `default_bins`, or what `numpy.histogram` takes.
        max_bins: so many bins about, of neighbours put together.

    Raises:
        ValueError: there are no values, or none in the bins.
    """
    if values.size == 0:
        raise ValueError("The input has no element.")
    values = values.reshape(-1).astype(np.float64)
    counts, edges = np.histogram(
        values, bins=default_bins() if isinstance(bins, str) and bins == "tensorflow" else bins
    )
    if max_bins is not None and len(counts) > max_bins:
        together = len(counts) // max_bins
        padded = np.pad(counts, (0, -len(counts) % together))
        counts = padded.reshape(-1, together).sum(1)
        edges = np.append(edges[:-1][::together], edges[-1])
    filled = np.flatnonzero(counts)
    if not len(filled):
        raise ValueError("No value lies in the bins.")
    first, last = filled[0], filled[-1] + 1
    return {
        "min": values.min(),
        "max": values.max(),
        "num": len(values),
        "sum": values.sum(),
        "sum_squares": values.dot(values),
        # A bin's limit is its upper edge: an empty bin in front tells where the first begins.
        "bucket_limit": edges[first : last + 1].tolist(),
        "bucket": [0, *counts[first:last].tolist()],
    }


# ---- pictures


def grid(pictures: np.ndarray, columns: int = 8) -> np.ndarray:
    """Pictures (N, H, W, C) side by side and in rows, as one (H, W, C)."""
    count, height, width, channels = pictures.shape
    columns = min(count, columns)
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, height, width, channels), pictures.dtype)
    padded[:count] = pictures
    padded = padded.reshape(rows, columns, height, width, channels)
    return padded.swapaxes(1, 2).reshape(rows * height, columns * width, channels)


def to_hwc(picture: np.ndarray, order: str) -> np.ndarray:
    """A picture, or several in a grid, with three or four channels last.

    Args:
        order: a letter for each dimension, of N, H, W and C.
    """
    order = order.upper()
    if len(set(order)) != len(order):
        raise AssertionError(f"You can not use the same dimension shorthand twice. input_format: {order}")
    if picture.ndim != len(order):
        raise AssertionError(
            f"size of input tensor and input format are different. tensor shape: {picture.shape}, {order}"
        )
    if set(order) not in (set("NHWC"), set("HWC"), set("HW")):
        raise AssertionError(f"expected the letters NHWC, HWC or HW in some order, but got {order}")
    wanted = "NHWC" if "N" in order else "HWC" if "C" in order else "HW"
    picture = picture.transpose([order.index(letter) for letter in wanted])
    if wanted == "NHWC":
        picture = grid(picture)
    if wanted == "HW":
        picture = picture[..., None]
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 as bytes; bytes as they are."""
    if picture.dtype == np.uint8:
        return picture
    return (picture.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)


def png(picture: np.ndarray, rescale: float = 1, boxes=None, labels=None) -> bytes:
    """A picture of bytes (H, W, C) as a file, with red boxes (left, top, right, bottom), then made larger or smaller."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    if boxes is not None:
        draw = ImageDraw.Draw(image)
        for i, (left, top, right, bottom) in enumerate(boxes.tolist()):
            corners = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)]
            draw.line(corners, width=2, fill="Red")
            if labels is not None:
                place = draw.textbbox((left, bottom), labels[i], anchor="lb")
                draw.rectangle(place, fill="Red")
                draw.text((left, bottom), labels[i], fill="black", anchor="lb")
    size = (int(picture.shape[1] * rescale), int(picture.shape[0] * rescale))
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def gif(video: np.ndarray, fps: float) -> bytes:
    """Pictures of bytes (T, H, W, C) as a moving one that is shown again and again."""
    from PIL import Image

    frames = [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in video]
    out = io.BytesIO()
    frames[0].save(out, format="GIF", save_all=True, append_images=frames[1:], duration=1000 / fps, loop=0)
    return out.getvalue()


def figure(figures, close: bool = True) -> np.ndarray:
    """Matplotlib's figures as pictures: bytes (C, H, W), or (N, C, H, W) for a list."""
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def drawn(one) -> np.ndarray:
        canvas = FigureCanvasAgg(one)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3].transpose(2, 0, 1).copy()
        if close:
            pyplot.close(one)
        return pixels

    return np.stack([drawn(one) for one in figures]) if isinstance(figures, list) else drawn(figures)


# ---- sounds


def wav(sound: np.ndarray, rate: int) -> tuple[bytes, int]:
    """One channel from -1 to 1 as a file of 16 bits, and its number of samples."""
    sound = sound.squeeze()
    if np.abs(sound).max(initial=0) > 1:
        warnings.warn("audio amplitude out of range, auto clipped.", stacklevel=3)
        sound = sound.clip(-1, 1)
    if sound.ndim != 1:
        raise AssertionError(f"input tensor should be 1 dimensional, but has shape {sound.shape}")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * np.iinfo(np.int16).max).astype("<i2").tobytes())
    return out.getvalue(), len(sound)


# ---- curves


def pr_curve(labels: np.ndarray, predictions: np.ndarray, thresholds: int, weights=1.0) -> np.ndarray:
    """By threshold: true and false positives, true and false negatives, precision and recall."""
    place = np.floor(predictions.reshape(-1) * (thresholds - 1)).astype(np.int64)
    labels, weights = (
        labels.reshape(-1).astype(np.float64),
        np.broadcast_to(weights, predictions.shape).reshape(-1),
    )

    def at_least(amounts) -> np.ndarray:
        inside = (place >= 0) & (place < thresholds)
        found = np.bincount(place[inside], weights=amounts[inside], minlength=thresholds)
        return found[::-1].cumsum()[::-1]

    true, false = at_least(labels * weights), at_least((1 - labels) * weights)
    tiny = 1e-7
    return np.stack(
        [
            true,
            false,
            false[0] - false,
            true[0] - true,
            true / np.maximum(tiny, true + false),
            true / np.maximum(tiny, true[0]),
        ]
    )
