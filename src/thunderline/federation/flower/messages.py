"""Arrays in and out of Flower's records, without trusting what a reply claims."""

import math

import numpy as np
from flwr.app import Array, ArrayRecord, Message

from thunderline.federation.aggregate import Update
from thunderline.federation.network import Arrays, Floats
from thunderline.federation.npy import read_npy

ARRAYS, METRICS, CONFIG, EXAMPLES = "arrays", "metrics", "config", "num-examples"


def to_record(arrays: Arrays) -> ArrayRecord:
    """Return arrays as a record, in the order of their names."""
    return ArrayRecord({name: Array(np.ascontiguousarray(arrays[name])) for name in sorted(arrays)})


def from_record(record: ArrayRecord) -> dict[str, Floats]:
    """Return the arrays of a record.

    Raises:
        ValueError: an array that is not plain little-endian float32, or whose header and bytes disagree.
    """
    return {name: _array(one) for name, one in record.items()}


def _array(array: Array) -> Floats:
    if array.stype != "numpy.ndarray":
        raise ValueError(f"layout {array.stype}")
    return read_npy(array.data)


def update_of(reply: Message) -> Update:
    """Return what a client sent back.

    Raises:
        ValueError: an error reply, or content of a wrong form; the text says which.
    """
    if reply.has_error():
        raise ValueError(f"error: {(reply.error.reason or 'unknown')[:200]}")
    arrays, metrics = reply.content.array_records.get(ARRAYS), reply.content.metric_records.get(METRICS)
    if arrays is None or metrics is None or len(reply.content) != len((ARRAYS, METRICS)):
        raise ValueError(f"records {sorted(reply.content)} instead of {ARRAYS} and {METRICS}")
    if set(metrics) != {EXAMPLES, "train-loss"}:
        raise ValueError(f"metrics {sorted(metrics)} instead of {EXAMPLES} and train-loss")
    examples, loss = metrics[EXAMPLES], metrics["train-loss"]
    if not isinstance(examples, int | float) or not isinstance(loss, int | float) or not math.isfinite(loss):
        raise ValueError(f"metrics {examples!r}, {loss!r} are not finite numbers")
    return Update(from_record(arrays), float(examples))


def train_loss_of(reply: Message) -> float:
    """Return the training loss that a checked reply tells."""
    value = reply.content.metric_records[METRICS]["train-loss"]
    return float(value) if isinstance(value, int | float) else math.nan
