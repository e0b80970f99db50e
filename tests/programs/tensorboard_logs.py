"""What a SummaryWriter writes, read back with TensorBoard's own classes.

`python tensorboard_logs.py OUT.json` writes the observations as JSON: every event's tag, step, kind and contents; pictures
as their pixels' sums, files by name.
"""

import glob
import io
import json
import os
import sys
import tempfile
import wave

import numpy as np
import torch
from google.protobuf.json_format import MessageToDict
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2 as hparams_data
from tensorboard.plugins.mesh import plugin_data_pb2 as mesh_data
from tensorboard.plugins.pr_curve import plugin_data_pb2 as pr_curve_data
from torch.utils.tensorboard import SummaryWriter

#: How the plugins' own data is read.
PLUGINS = {
    "hparams": hparams_data.HParamsPluginData,
    "mesh": mesh_data.MeshPluginData,
    "pr_curves": pr_curve_data.PrCurvePluginData,
}


def picture(data: bytes) -> dict:
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(np.int64)
    weights = np.arange(pixels.shape[0] * pixels.shape[1]).reshape(pixels.shape[:2]) % 97
    return {"shape": list(pixels.shape), "sums": (pixels * weights[..., None]).sum((0, 1)).tolist()}


def contents(value) -> dict:
    kind = value.WhichOneof("value")
    if kind == "image":
        header = {
            "height": value.image.height,
            "width": value.image.width,
            "colorspace": value.image.colorspace,
        }
        return {**header, **picture(value.image.encoded_image_string)}
    if kind == "audio":
        audio = value.audio
        with wave.open(io.BytesIO(audio.encoded_audio_string)) as sound:
            frames = np.frombuffer(sound.readframes(-1), np.int16).tolist()
            return {
                "rate": [audio.sample_rate, sound.getframerate()],
                "channels": [audio.num_channels, sound.getnchannels()],
                "length": audio.length_frames,
                "type": audio.content_type,
                "frames": frames,
            }
    if kind == "tensor" and value.metadata.plugin_data.plugin_name == "custom_scalars":
        layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
        return MessageToDict(layout, preserving_proto_field_name=True)
    if kind == "tensor" and value.tensor.tensor_content:
        flat = np.frombuffer(
            value.tensor.tensor_content, {1: np.float32, 3: np.int32, 4: np.uint8}[value.tensor.dtype]
        )
        shape = [int(dim.size) for dim in value.tensor.tensor_shape.dim]
        return {"shape": shape, "values": flat.tolist()}
    if kind == "tensor" and value.tensor.string_val:
        return {
            "strings": [text.decode() for text in value.tensor.string_val],
            "shape": [int(dim.size) for dim in value.tensor.tensor_shape.dim],
        }
    if kind is None:
        return {}
    found = MessageToDict(value, preserving_proto_field_name=True)[kind]
    return found if isinstance(found, dict) else {"value": found}


def plugin(metadata) -> dict:
    name = metadata.plugin_data.plugin_name
    found = {"name": name, "display_name": metadata.display_name, "description": metadata.summary_description}
    if name in PLUGINS:
        data = PLUGINS[name].FromString(metadata.plugin_data.content)
        found["data"] = MessageToDict(data, preserving_proto_field_name=True)
        found["data"].get("session_start_info", {}).pop("start_time_secs", None)
        found["data"].get("session_end_info", {}).pop("end_time_secs", None)
    return found


def events(folder: str) -> list:
    found = []
    for path in sorted(glob.glob(os.path.join(folder, "**", "events*"), recursive=True)):
        where = os.path.relpath(os.path.dirname(path), folder)
        for event in LegacyEventFileLoader(path).Load():
            line = {"in": where, "step": event.step}
            if event.file_version:
                found.append({**line, "version": event.file_version})
            elif event.HasField("session_log"):
                found.append({**line, "session": event.session_log.status})
            for value in event.summary.value:
                found.append(
                    {
                        **line,
                        "tag": value.tag,
                        "kind": value.WhichOneof("value"),
                        "plugin": plugin(value.metadata),
                        "contents": contents(value),
                        "walltime": event.wall_time if event.wall_time < 1e6 else None,
                    }
                )
    return found


def write(folder: str) -> None:
    ramp = torch.arange(60.0)
    with SummaryWriter(folder, filename_suffix=".test", purge_step=3) as w:
        w.add_scalar("loss", 0.5, 1, walltime=100.0)
        w.add_scalar("loss", torch.tensor([0.25], requires_grad=True), torch.tensor(2))
        w.add_scalar("new", 1.5, 1, new_style=True)
        w.add_scalar("double", 0.1, 1, double_precision=True)
        w.add_scalar("double new", np.float64(0.1), 1, new_style=True, double_precision=True)
        w.add_scalar("odd name!/with:%", 1, 1)
        w.add_scalars("both", {"a": 1.0, "b": torch.tensor(2.0)}, 4)
        w.add_histogram("h", ramp.sin(), 1)
        w.add_histogram("h/auto", ramp.numpy(), 1, bins="auto")
        w.add_histogram("h/bins", ramp, 1, bins=[0, 10, 20, 40, 60])
        w.add_histogram("h/max", ramp.cos(), 1, max_bins=20)
        w.add_histogram("h/one", torch.ones(3), 1)
        w.add_histogram_raw("raw", 0.0, 3.0, 4, 6.0, 14.0, [1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1], 1)
        colors = ramp.reshape(3, 4, 5) / 60
        w.add_image("i", colors, 1)
        w.add_image("i/hwc", (colors * 255).to(torch.uint8).permute(1, 2, 0), 1, dataformats="HWC")
        w.add_image("i/hw", colors[0], 1, dataformats="HW")
        w.add_image("i/gray", colors[:1].numpy(), 1)
        w.add_images("many", torch.stack([colors, colors.flip(1), colors / 2]), 1)
        w.add_images("many/nhwc", (ramp.reshape(1, 4, 5, 3) / 60), 1, dataformats="NHWC")
        boxes = torch.tensor([[2.0, 2.0, 20.0, 12.0], [5.0, 8.0, 30.0, 28.0]])
        w.add_image_with_boxes("boxes", torch.full((3, 32, 40), 0.5), boxes, 1)
        w.add_image_with_boxes("boxes/half", torch.full((3, 32, 40), 0.5), boxes, 1, rescale=0.5)
        w.add_audio("sound", (ramp / 30 - 1).reshape(1, 60), 1, sample_rate=8000)
        w.add_audio("loud", ramp / 10, 1)
        w.add_text("words", "Some **text**, and ü.", 1)
        w.add_tensor("tensor", torch.arange(6.0).reshape(2, 3), 1)
        w.add_tensor("tensor/scalar", torch.tensor(2.5), 1)
        labels = (ramp % 3 == 0).long()
        w.add_pr_curve("pr", labels, ramp / 60, 1, num_thresholds=11)
        w.add_pr_curve(
            "pr/weights", labels.numpy(), (ramp / 60).numpy(), 1, num_thresholds=5, weights=ramp.numpy()
        )
        counts = [torch.tensor([5.0, 3.0, 1.0])] * 4
        w.add_pr_curve_raw(
            "pr/raw", *counts, torch.tensor([0.5, 0.6, 1.0]), torch.tensor([1.0, 0.5, 0.1]), 1, 3
        )
        vertices = torch.arange(18.0).reshape(1, 6, 3) / 18
        faces = torch.tensor([[[0, 1, 2], [3, 4, 5]]])
        paint = (torch.arange(18).reshape(1, 6, 3) * 14).to(torch.uint8)
        w.add_mesh("mesh", vertices, paint, faces, {"camera": {"cls": "PerspectiveCamera", "fov": 75}}, 1)
        w.add_mesh("mesh/points", vertices, global_step=1)
        w.add_custom_scalars_multilinechart(["both/a", "both/b"], title="lines")
        w.add_custom_scalars(
            {"A": {"x": ["Multiline", ["loss", "new"]], "y": ["Margin", ["loss", "new", "double"]]}, "B": {}}
        )
        w.add_embedding(ramp.reshape(6, 10), metadata=["a", "b", "c", "d", "e", "f"], global_step=1)
        w.add_embedding(
            ramp.reshape(6, 10),
            metadata=[["a", 1], ["b", 2], ["c", 3], ["d", 4], ["e", 5], ["f", 6]],
            metadata_header=["letter", "number"],
            label_img=(torch.arange(6 * 3 * 4 * 4.0) / 288).reshape(6, 3, 4, 4),
            global_step=2,
            tag="second",
        )
        w.add_hparams(
            {"lr": 0.1, "bsize": 4, "name": "adam", "flag": True, "t": torch.tensor([3.0])},
            {"hparam/accuracy": 0.9, "hparam/loss": torch.tensor(0.5)},
            hparam_domain_discrete={"lr": [0.1, 0.2], "name": ["adam", "sgd"]},
            run_name="trial",
            global_step=7,
        )
    with SummaryWriter(os.path.join(folder, "margin")) as w:
        w.add_custom_scalars_marginchart(["a", "b", "c"], category="C", title="T")


def files(folder: str) -> dict:
    found = {}
    for name in sorted(glob.glob(os.path.join(folder, "**", "*"), recursive=True)):
        short = os.path.relpath(name, folder)
        if os.path.isdir(name) or "events" in os.path.basename(name):
            continue
        with open(name, "rb") as file:
            data = file.read()
        found[short] = picture(data) if name.endswith(".png") else data.decode()
    found["events"] = len(glob.glob(os.path.join(folder, "events*.test")))
    return found


def main(out: str) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        observed = {"events": events(folder), "files": files(folder)}
    with open(out, "w") as file:
        json.dump(observed, file, indent=0, sort_keys=True)


if __name__ == "__main__":
    main(sys.argv[1])
