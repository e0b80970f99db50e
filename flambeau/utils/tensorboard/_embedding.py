"""The files that TensorBoard's projector reads: points, labels, pictures, and which of them there are."""

from __future__ import annotations

import math
import os
import urllib.parse

import numpy as np
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo, ProjectorConfig

from .. import _tensorboard_values as values
from .._tensorboard_values import make_np


def _lines(path: str, rows) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines("\t".join(str(cell) for cell in row) + "\n" for row in rows)


def write(folder: str, mat, metadata, pictures, step: int, tag: str, header) -> None:
    """Write the files of one set of points, and add it to the list of sets."""
    mat = make_np(mat)
    if mat.ndim != 2:
        raise AssertionError("mat should be 2D, where mat.size(0) is the number of data points")
    name = f"{step:05d}/{urllib.parse.quote(tag, safe='')}"
    place = os.path.join(folder, name)
    os.makedirs(place, exist_ok=True)
    info = EmbeddingInfo(tensor_name=f"{tag}:{step:05d}", tensor_path=f"{name}/tensors.tsv")
    if metadata is not None:
        if len(metadata) != len(mat):
            raise AssertionError("#labels should equal with #data points")
        rows = [header, *metadata] if header else [[label] for label in metadata]
        _lines(os.path.join(place, "metadata.tsv"), rows)
        info.metadata_path = f"{name}/metadata.tsv"
    if pictures is not None:
        pictures = make_np(pictures)
        if len(pictures) != len(mat):
            raise AssertionError("#images should equal with #data points")
        if pictures.shape[2] != pictures.shape[3]:
            raise AssertionError("Image should be square, see tensorflow/tensorboard#670")
        side = math.ceil(math.sqrt(len(pictures)))
        padded = np.zeros((side * side, *pictures.shape[1:]), pictures.dtype)
        padded[: len(pictures)] = pictures
        sprite = values.to_bytes(values.grid(padded.transpose(0, 2, 3, 1), columns=side))
        sprite = np.repeat(sprite, 3, axis=2) if sprite.shape[2] == 1 else sprite
        with open(os.path.join(place, "sprite.png"), "wb") as file:
            file.write(values.png(sprite))
        info.sprite.image_path = f"{name}/sprite.png"
        info.sprite.single_image_dim.extend([pictures.shape[3], pictures.shape[2]])
    _lines(os.path.join(place, "tensors.tsv"), mat.tolist())
    with open(os.path.join(folder, "projector_config.pbtxt"), "a", encoding="utf-8") as file:
        file.write(text_format.MessageToString(ProjectorConfig(embeddings=[info])))
