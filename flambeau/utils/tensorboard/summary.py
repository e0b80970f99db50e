"""The records that a writer adds: one function for each kind."""

from __future__ import annotations

import json
import time

import numpy as np
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams import plugin_data_pb2 as hparams_data
from tensorboard.plugins.mesh import metadata as mesh_metadata
from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData
from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData
from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData

import flambeau

from .. import _tensorboard_values as values
from .._tensorboard_values import make_np

#: How arrays are kept: {dtype in NumPy: (its number in the format, field)}.
_FIELDS = {
    "float32": (1, "float_val"),
    "float64": (2, "double_val"),
    "int32": (3, "int_val"),
    "uint8": (4, "int_val"),
    "int16": (5, "int_val"),
    "int8": (6, "int_val"),
    "int64": (9, "int64_val"),
    "bool": (10, "bool_val"),
    "float16": (19, "half_val"),
}


def _metadata(plugin: str, content: bytes = b"") -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin, content=content))


def _shape(sizes) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])


def _tensor(array: np.ndarray) -> TensorProto:
    if str(array.dtype) not in _FIELDS:
        raise ValueError(f"{array.dtype} is not supported by TensorBoard's tensors")
    number, field = _FIELDS[str(array.dtype)]
    flat = array.reshape(-1)
    flat = flat.view(np.uint16) if field == "half_val" else flat
    return TensorProto(dtype=number, tensor_shape=_shape(array.shape), **{field: flat.tolist()})


def _one(tag: str, **value) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, **value)])


def scalar(name, tensor, collections=None, new_style=False, double_precision=False) -> Summary:
    """A number."""
    number = values.one_number(tensor)
    if not new_style:
        return _one(name, simple_value=number)
    kept = (
        TensorProto(dtype=2, double_val=[number])
        if double_precision
        else TensorProto(dtype=1, float_val=[number])
    )
    return _one(name, tensor=kept, metadata=_metadata("scalars"))


def tensor_proto(tag, tensor) -> Summary:
    """A tensor."""
    return _one(tag, tensor=_tensor(make_np(tensor)), metadata=_metadata("tensor"))


def histogram(name, values_, bins="tensorflow", max_bins=None) -> Summary:
    """Counts of values between edges."""
    return _one(name, histo=HistogramProto(**values.histogram(make_np(values_), bins, max_bins)))


def histogram_raw(name, min, max, num, sum, sum_squares, bucket_limits, bucket_counts) -> Summary:
    """Counts that somebody else has made."""
    made = HistogramProto(
        min=min,
        max=max,
        num=num,
        sum=sum,
        sum_squares=sum_squares,
        bucket_limit=[float(limit) for limit in bucket_limits],
        bucket=[float(count) for count in bucket_counts],
    )
    return _one(name, histo=made)


def _image(tag, picture: np.ndarray, encoded: bytes) -> Summary:
    height, width, channels = picture.shape
    image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=encoded)
    return _one(tag, image=image)


def image(tag, tensor, rescale=1, dataformats="NCHW") -> Summary:
    """A picture, or several in a grid."""
    picture = values.to_bytes(values.to_hwc(make_np(tensor), dataformats))
    return _image(tag, picture, values.png(picture, rescale))


def image_boxes(tag, tensor_image, tensor_boxes, rescale=1, dataformats="CHW", labels=None) -> Summary:
    """A picture with boxes."""
    picture = values.to_bytes(values.to_hwc(make_np(tensor_image), dataformats))
    return _image(tag, picture, values.png(picture, rescale, make_np(tensor_boxes), labels))


def video(tag, tensor, fps=4) -> Summary:
    """Pictures (N, T, C, H, W) that move, those of one time in a grid."""
    frames = make_np(tensor)
    if frames.ndim != 5:
        raise ValueError(f"expected a video of the shape (N, T, C, H, W), but got {frames.shape}")
    frames = values.to_bytes(frames)
    grids = np.stack([values.grid(frames[:, t].transpose(0, 2, 3, 1)) for t in range(frames.shape[1])])
    return _image(tag, grids[0], values.gif(grids, fps))


def audio(tag, tensor, sample_rate=44100) -> Summary:
    """A sound of one channel."""
    encoded, length = values.wav(make_np(tensor), sample_rate)
    sound = Summary.Audio(
        sample_rate=sample_rate,
        num_channels=1,
        length_frames=length,
        encoded_audio_string=encoded,
        content_type="audio/wav",
    )
    return _one(tag, audio=sound)


def text(tag, text) -> Summary:
    """Words, in Markdown."""
    kept = TensorProto(dtype=7, string_val=[text.encode()], tensor_shape=_shape([1]))
    metadata = _metadata("text", TextPluginData(version=0).SerializeToString())
    return _one(tag + "/text_summary", tensor=kept, metadata=metadata)


def pr_curve_raw(tag, tp, fp, tn, fn, precision, recall, num_thresholds=127, weights=None) -> Summary:
    """A curve of precision over recall that somebody else has computed."""
    num_thresholds = min(num_thresholds, 127)
    data = np.stack([make_np(row).astype(np.float32) for row in (tp, fp, tn, fn, precision, recall)])
    content = PrCurvePluginData(version=0, num_thresholds=num_thresholds).SerializeToString()
    return _one(tag, tensor=_tensor(data), metadata=_metadata("pr_curves", content))


def pr_curve(tag, labels, predictions, num_thresholds=127, weights=None) -> Summary:
    """A curve of precision over recall."""
    num_thresholds = min(num_thresholds, 127)
    weights = 1.0 if weights is None else make_np(weights)
    data = values.pr_curve(make_np(labels), make_np(predictions), num_thresholds, weights)
    return pr_curve_raw(tag, *data, num_thresholds)


def mesh(tag, vertices, colors, faces, config_dict, display_name=None, description=None) -> Summary:
    """Points, triangles between them, and colours."""
    parts = [
        (MeshPluginData.VERTEX, vertices, np.float32),
        (MeshPluginData.FACE, faces, np.float32),
        (MeshPluginData.COLOR, colors, np.float32),
    ]
    parts = [(kind, make_np(part).astype(dtype)) for kind, part, dtype in parts if part is not None]
    components = sum(1 << kind for kind, _ in parts)
    made = []
    for kind, array in parts:
        metadata = mesh_metadata.create_summary_metadata(
            tag,
            display_name,
            kind,
            components,
            array.shape,
            description,
            json_config=json.dumps(config_dict or {}, sort_keys=True),
        )
        name = mesh_metadata.get_instance_name(tag, kind)
        made.append(Summary.Value(tag=name, tensor=_tensor(array), metadata=metadata))
    return Summary(value=made)


def custom_scalars(layout: dict) -> Summary:
    """How numbers are put into charts: {category: {chart: [kind, tags]}}; kinds are Multiline and Margin."""
    categories = []
    for title, charts in layout.items():
        made = []
        for name, (kind, tags) in charts.items():
            if kind == "Margin":
                if len(tags) != 3:
                    raise AssertionError(
                        f"a margin chart has three tags (value, lower, upper), not {len(tags)}"
                    )
                series = layout_pb2.MarginChartContent.Series(value=tags[0], lower=tags[1], upper=tags[2])
                content = {"margin": layout_pb2.MarginChartContent(series=[series])}
            else:
                content = {"multiline": layout_pb2.MultilineChartContent(tag=tags)}
            made.append(layout_pb2.Chart(title=name, **content))
        categories.append(layout_pb2.Category(title=title, chart=made))
    data = layout_pb2.Layout(category=categories).SerializeToString()
    kept = TensorProto(dtype=7, string_val=[data], tensor_shape=TensorShapeProto())
    return _one("custom_scalars__config__", tensor=kept, metadata=_metadata("custom_scalars"))


#: (types, their name in the format, the field that keeps one). A bool is an int first, as in PyTorch.
_HPARAM_KINDS = (
    ((int, float), "DATA_TYPE_FLOAT64", "number_value"),
    ((str,), "DATA_TYPE_STRING", "string_value"),
)


def _hparam(name: str, value, domain):
    """(description, value) of a hyperparameter."""
    kinds = api_pb2.DataType
    if isinstance(value, flambeau.Tensor):
        value = make_np(value).reshape(-1)[0].item()
    if value is None:
        return api_pb2.HParamInfo(name=name, type=kinds.Value("DATA_TYPE_UNSET")), None
    found = next((row for row in _HPARAM_KINDS if isinstance(value, row[0])), None)
    if found is None:
        raise ValueError("value should be one of int, float, str, bool, or torch.Tensor")
    types, kind, field = found
    info = api_pb2.HParamInfo(name=name, type=kinds.Value(kind))
    if domain is not None:
        if not all(isinstance(item, types) for item in domain):
            raise TypeError(
                f"parameter: hparam_domain_discrete['{name}'] must be a list of the same type as its value"
            )
        for item in domain:
            setattr(info.domain_discrete.values.add(), field, item)
    return info, {field: value}


def hparams(
    hparam_dict=None, metric_dict=None, hparam_domain_discrete=None
) -> tuple[Summary, Summary, Summary]:
    """The hyperparameters of a run and the names of its metrics: three records, of the experiment, and of the beginning and
    the end of the run."""
    for what, value in (("hparam_dict", hparam_dict), ("metric_dict", metric_dict)):
        if not isinstance(value, dict):
            raise TypeError(f"{what} should be a dictionary, nothing logged.")
    domains = hparam_domain_discrete or {}
    if not isinstance(domains, dict):
        raise TypeError("hparam_domain_discrete should be a dictionary, nothing logged.")
    for name in domains:
        if name not in hparam_dict or not isinstance(domains[name], list):
            raise TypeError(
                f"parameter: hparam_domain_discrete['{name}'] must be a list, of a key of hparam_dict"
            )
    start = hparams_data.SessionStartInfo(start_time_secs=time.time())
    infos = []
    for name, value in hparam_dict.items():
        info, kept = _hparam(name, value, domains.get(name))
        infos.append(info)
        if kept is not None:
            (field, value), *_ = kept.items()
            setattr(start.hparams[name], field, value)
    metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metric_dict]
    end = hparams_data.SessionEndInfo(
        status=api_pb2.Status.Value("STATUS_SUCCESS"), end_time_secs=time.time()
    )

    def record(tag: str, **data) -> Summary:
        content = hparams_data.HParamsPluginData(version=hparams_metadata.PLUGIN_DATA_VERSION, **data)
        return _one(tag, metadata=_metadata(hparams_metadata.PLUGIN_NAME, content.SerializeToString()))

    return (
        record(
            hparams_metadata.EXPERIMENT_TAG,
            experiment=api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics),
        ),
        record(hparams_metadata.SESSION_START_INFO_TAG, session_start_info=start),
        record(hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end),
    )
