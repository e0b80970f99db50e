"""`SummaryWriter`: what a training writes for TensorBoard, into files of a folder."""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime

import numpy as np
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.event_file_writer import EventFileWriter

import flambeau

from .. import _tensorboard_values as values
from .._tensorboard_values import make_np
from . import summary

__all__ = ["FileWriter", "SummaryWriter"]


class FileWriter:
    """A file of events in a folder, to which a thread writes.

    Args:
        log_dir: the folder; it is made.
        max_queue: so many events may wait to be written before `add_event` waits.
        flush_secs: seconds after which what was written reaches the disk.
        filename_suffix: the end of the file's name.
    """

    def __init__(self, log_dir, max_queue=10, flush_secs=120, filename_suffix=""):
        self.event_writer = EventFileWriter(os.fspath(log_dir), max_queue, flush_secs, filename_suffix)

    def get_logdir(self):
        """The folder."""
        return self.event_writer.get_logdir()

    def add_event(self, event, step=None, walltime=None) -> None:
        """Add an event, at a step, now or at a time in seconds."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self.event_writer.add_event(event)

    def add_summary(self, summary, global_step=None, walltime=None) -> None:
        """Add a record of `torch.utils.tensorboard.summary`."""
        self.add_event(event_pb2.Event(summary=summary), global_step, walltime)

    def add_graph(self, graph_profile, walltime=None) -> None:
        """Add a graph, given as the format's ``GraphDef`` and metadata of a run, or None."""
        graph, metadata = graph_profile
        self.add_event(event_pb2.Event(graph_def=graph.SerializeToString()), None, walltime)
        if metadata is not None:
            tagged = event_pb2.TaggedRunMetadata(tag="step1", run_metadata=metadata.SerializeToString())
            self.add_event(event_pb2.Event(tagged_run_metadata=tagged), None, walltime)

    def add_onnx_graph(self, graph, walltime=None) -> None:
        """Add a graph, given as the format's ``GraphDef``."""
        self.add_event(event_pb2.Event(graph_def=graph.SerializeToString()), None, walltime)

    def flush(self) -> None:
        """Write what waits."""
        self.event_writer.flush()

    def close(self) -> None:
        """Write what waits and close the file."""
        self.event_writer.close()

    def reopen(self) -> None:
        """Raises: a closed file stays closed."""
        raise NotImplementedError("FileWriter.reopen: make another writer for the folder")


def _default_folder(comment: str) -> str:
    now = datetime.now().strftime("%b%d_%H-%M-%S")
    return os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")


class SummaryWriter:
    """Writes what TensorBoard shows. Usable as a context manager.

    The methods take the value's name `tag`, the `global_step` it belongs to, and the time in seconds, `walltime` (now).

    Args:
        log_dir: the folder; by default ``runs/DATE_HOST`` and the comment.
        comment: end of the default folder's name.
        purge_step: TensorBoard leaves out what was written before at this step and later, as after a crash.
        max_queue, flush_secs, filename_suffix: see `FileWriter`.
    """

    def __init__(
        self, log_dir=None, comment="", purge_step=None, max_queue=10, flush_secs=120, filename_suffix=""
    ):
        self.log_dir = os.fspath(log_dir) if log_dir else _default_folder(comment)
        self.purge_step, self.max_queue = purge_step, max_queue
        self.flush_secs, self.filename_suffix = flush_secs, filename_suffix
        #: The folder's writer, and all writers by folder: some kinds need folders of their own.
        self.file_writer: FileWriter | None = None
        self.all_writers: dict[str, FileWriter] | None = None
        self.default_bins = values.default_bins().tolist()
        self._get_file_writer()

    def _get_file_writer(self) -> FileWriter:
        if self.file_writer is None:
            self.file_writer = FileWriter(self.log_dir, self.max_queue, self.flush_secs, self.filename_suffix)
            self.all_writers = {self.log_dir: self.file_writer}
            if self.purge_step is not None:
                step = self.purge_step
                self.file_writer.add_event(Event(step=step, file_version="brain.Event:2"))
                self.file_writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
                self.purge_step = None
        return self.file_writer

    def _add(self, record, global_step, walltime) -> None:
        if isinstance(global_step, flambeau.Tensor):
            global_step = global_step.item()
        self._get_file_writer().add_summary(record, global_step, walltime)

    def get_logdir(self) -> str:
        """The folder."""
        return self.log_dir

    # ---- numbers

    def add_scalar(
        self, tag, scalar_value, global_step=None, walltime=None, new_style=False, double_precision=False
    ) -> None:
        """Add a number.

        Args:
            new_style: keep it as a tensor, as TensorBoard itself does by now.
            double_precision: then, in double precision.
        """
        self._add(
            summary.scalar(tag, scalar_value, new_style=new_style, double_precision=double_precision),
            global_step,
            walltime,
        )

    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None) -> None:
        """Add numbers that are shown in one chart; each gets a folder of its own."""
        main = self._get_file_writer()
        for tag, value in tag_scalar_dict.items():
            folder = f"{main.get_logdir()}/{main_tag.replace('/', '_')}_{tag}"
            if folder not in self.all_writers:
                self.all_writers[folder] = FileWriter(
                    folder, self.max_queue, self.flush_secs, self.filename_suffix
                )
            step = global_step.item() if isinstance(global_step, flambeau.Tensor) else global_step
            self.all_writers[folder].add_summary(summary.scalar(main_tag, value), step, walltime)

    def add_tensor(self, tag, tensor, global_step=None, walltime=None) -> None:
        """Add a tensor, for plugins that read it."""
        self._add(summary.tensor_proto(tag, tensor), global_step, walltime)

    def add_hparams(
        self, hparam_dict, metric_dict, hparam_domain_discrete=None, run_name=None, global_step=None
    ) -> None:
        """Add a run's hyperparameters and what came of them, in a folder of its own.

        Args:
            hparam_dict: numbers, strings and bools by name.
            metric_dict: numbers by name; the names should be no other scalars' names.
            hparam_domain_discrete: lists of all values that a hyperparameter takes, by name.
            run_name: the folder's name; the time by default.
        """
        records = summary.hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        folder = os.path.join(self._get_file_writer().get_logdir(), run_name or str(time.time()))
        with SummaryWriter(folder) as writer:
            for record in records:
                writer._add(record, global_step, None)
            for tag, value in metric_dict.items():
                writer.add_scalar(tag, value, global_step)

    # ---- histograms and curves

    def add_histogram(
        self, tag, values, global_step=None, bins="tensorflow", walltime=None, max_bins=None
    ) -> None:
        """Add counts of a tensor's values.

        Args:
            bins: ``"tensorflow"`` for bins that grow by a tenth, or what `numpy.histogram` takes, such as ``"auto"``.
            max_bins: about how many bins to keep.
        """
        self._add(summary.histogram(tag, values, bins, max_bins), global_step, walltime)

    def add_histogram_raw(
        self,
        tag,
        min,
        max,
        num,
        sum,
        sum_squares,
        bucket_limits,
        bucket_counts,
        global_step=None,
        walltime=None,
    ) -> None:
        """Add counts that are known already, with the values' moments. A bucket's limit is its upper edge."""
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        record = summary.histogram_raw(tag, min, max, num, sum, sum_squares, bucket_limits, bucket_counts)
        self._add(record, global_step, walltime)

    def add_pr_curve(
        self, tag, labels, predictions, global_step=None, num_thresholds=127, weights=None, walltime=None
    ) -> None:
        """Add precision over recall, from labels 0 and 1 and predictions from 0 to 1."""
        labels, predictions = make_np(labels), make_np(predictions)
        self._add(summary.pr_curve(tag, labels, predictions, num_thresholds, weights), global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag,
        true_positive_counts,
        false_positive_counts,
        true_negative_counts,
        false_negative_counts,
        precision,
        recall,
        global_step=None,
        num_thresholds=127,
        weights=None,
        walltime=None,
    ) -> None:
        """Add precision over recall that is known already, by threshold."""
        counts = (true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts)
        record = summary.pr_curve_raw(tag, *counts, precision, recall, num_thresholds, weights)
        self._add(record, global_step, walltime)

    # ---- pictures, sounds, words

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW") -> None:
        """Add a picture: bytes, or values from 0 to 1. `dataformats` names its dimensions: CHW, HWC or HW."""
        self._add(summary.image(tag, img_tensor, dataformats=dataformats), global_step, walltime)

    def add_images(self, tag, img_tensor, global_step=None, walltime=None, dataformats="NCHW") -> None:
        """Add several pictures as one, in a grid of eight columns."""
        if isinstance(img_tensor, list):
            img_tensor = np.stack([make_np(img) for img in img_tensor])
        self._add(summary.image(tag, img_tensor, dataformats=dataformats), global_step, walltime)

    def add_image_with_boxes(
        self,
        tag,
        img_tensor,
        box_tensor,
        global_step=None,
        walltime=None,
        rescale=1,
        dataformats="CHW",
        labels=None,
    ) -> None:
        """Add a picture with boxes (left, top, right, bottom), one a row, and a label for each."""
        labels = [labels] if isinstance(labels, str) else labels
        if labels is not None and len(labels) != make_np(box_tensor).shape[0]:
            labels = None
        record = summary.image_boxes(tag, img_tensor, box_tensor, rescale, dataformats, labels)
        self._add(record, global_step, walltime)

    def add_figure(self, tag, figure, global_step=None, close=True, walltime=None) -> None:
        """Add a figure of Matplotlib's, or a list of them, which is closed then."""
        pictures = values.figure(figure, close)
        self._add(
            summary.image(tag, pictures, dataformats="NCHW" if isinstance(figure, list) else "CHW"),
            global_step,
            walltime,
        )

    def add_video(self, tag, vid_tensor, global_step=None, fps=4, walltime=None) -> None:
        """Add moving pictures of the shape (N, T, C, H, W), the N of them in a grid."""
        self._add(summary.video(tag, vid_tensor, fps), global_step, walltime)

    def add_audio(self, tag, snd_tensor, global_step=None, sample_rate=44100, walltime=None) -> None:
        """Add a sound of one channel, values from -1 to 1."""
        self._add(summary.audio(tag, snd_tensor, sample_rate), global_step, walltime)

    def add_text(self, tag, text_string, global_step=None, walltime=None) -> None:
        """Add words, in Markdown."""
        self._add(summary.text(tag, text_string), global_step, walltime)

    def add_mesh(
        self, tag, vertices, colors=None, faces=None, config_dict=None, global_step=None, walltime=None
    ) -> None:
        """Add points (B, N, 3), colours for them, and triangles as indices of points.

        Args:
            config_dict: settings of the picture, of three.js's classes.
        """
        self._add(summary.mesh(tag, vertices, colors, faces, config_dict), global_step, walltime)

    # ---- charts of several numbers

    def add_custom_scalars(self, layout) -> None:
        """Put numbers into charts: ``{category: {chart: ["Multiline" or "Margin", tags]}}``. For all steps, once."""
        self._add(summary.custom_scalars(layout), None, None)

    def add_custom_scalars_multilinechart(self, tags, category="default", title="untitled") -> None:
        """`add_custom_scalars` with one chart, of a line for each tag."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags, category="default", title="untitled") -> None:
        """`add_custom_scalars` with one chart, of a value between two others."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    # ---- points in space

    def add_embedding(
        self,
        mat,
        metadata=None,
        label_img=None,
        global_step=None,
        tag="default",
        metadata_header=None,
    ) -> None:
        """Add points (N, D), which the projector shows in fewer dimensions.

        Args:
            metadata: a label for each point, or with `metadata_header`, a list of labels.
            label_img: a square picture (N, C, H, W) for each point.
        """
        from . import _embedding

        step = 0 if global_step is None else int(global_step)
        folder = self._get_file_writer().get_logdir()
        _embedding.write(folder, mat, metadata, label_img, step, tag, metadata_header)

    # ---- graphs

    def add_graph(self, model, input_to_model=None, verbose=False, use_strict_trace=True) -> None:
        """Raises: a graph comes from tracing the model, which is not written."""
        raise NotImplementedError(
            "SummaryWriter.add_graph: it would show a trace of the model, and flambeau traces no programs; "
            "print(model) shows its modules"
        )

    def add_onnx_graph(self, prototxt) -> None:
        """Raises: graphs in ONNX's format cannot be read."""
        raise NotImplementedError("SummaryWriter.add_onnx_graph: flambeau does not read ONNX's format")

    # ---- end

    def flush(self) -> None:
        """Write what waits, so that TensorBoard sees it."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Write what waits and close the files. Adding more opens others."""
        for writer in (self.all_writers or {}).values():
            writer.flush()
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_val, exc_tb):
        self.close()
