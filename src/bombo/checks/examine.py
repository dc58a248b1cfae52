"""Looks into the files of every image, several at a time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import cv2
import numpy as np

from bombo.checks import image_file, mask_file, voc_file, yolo_file
from bombo.checks.contradictions import contradictions
from bombo.checks.finding import Hit
from bombo.checks.fingerprint import Fingerprint, fingerprint
from bombo.checks.source import Task, refusal
from bombo.data.label_space import LabelSpace
from bombo.data.masks import MaskFile
from bombo.data.sample import Record
from bombo.errors import BomboError, DataError

# images; a process imports torch when it starts, which takes the time of some 5,000 images of 500 pixels
_WORTH_PROCESSES = 10_000


@dataclass(frozen=True)
class Examined:
    """What the files of one image hold.

    Args:
        hits: What is wrong with them.
        values: Value of the mask, in the label space → number of pixels; None without a usable mask.
        print: Fingerprint of the image, None if it cannot be decoded.
    """

    hits: list[Hit]
    values: dict[int, int] | None = None
    print: Fingerprint | None = None


def examine_all(tasks: Sequence[Task], space: LabelSpace, progress: Callable[[int], None]) -> list[Examined]:
    """Examines the images in parallel processes; few of them in this one.

    Args:
        tasks: The images.
        space: The label space.
        progress: Called with the number of images done.

    Raises:
        BomboError: A process died.
    """
    one, results, processes = partial(examine, space=space), [], _processes()
    if processes == 1 or len(tasks) < _WORTH_PROCESSES:
        for task in tasks:
            results.append(one(task))
            progress(len(results))
        return results
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_calm) as pool:
        try:
            for result in pool.map(one, tasks, chunksize=8):
                results.append(result)
                progress(len(results))
        except BrokenProcessPool:
            fix = "in a script of your own, call it under `if __name__ == '__main__':`; else make room in memory"
            raise BomboError("a process that reads images died", fix=fix) from None
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the images that are left
    return results


def examine(task: Task, space: LabelSpace) -> Examined:
    """Decodes image and mask to the end and compares them with each other and with the boxes."""
    pixels, hits = image_file.decode(task.image)
    if task.boxes is not None and task.boxes.suffix == ".xml":
        hits += voc_file.inspect(task.boxes)
    if pixels is None:
        return Examined(hits)
    size = (pixels.shape[0], pixels.shape[1])
    if task.boxes is not None and task.boxes.suffix == ".txt":
        hits += yolo_file.inspect(task.boxes, size)
    if task.record is None:
        return Examined(hits, print=fingerprint(pixels))
    hits += image_file.declared_size(task.record, size)
    mask, wrong = _mask(task.record, size)
    hits += wrong
    if mask is not None and task.record.boxes is not None:
        hits += contradictions(str(task.image), task.record.boxes, mask, space)
    return Examined(hits, None if mask is None else _counts(mask), fingerprint(pixels))


def _mask(record: Record, size: tuple[int, int]) -> tuple[np.ndarray | None, list[Hit]]:
    if record.mask is None or record.size not in (None, size):
        return None, []  # a wrong size is said already
    if isinstance(record.mask, MaskFile):
        return mask_file.decode(record.mask, size)
    try:
        return record.mask.load(size), []
    except DataError as error:
        return None, [refusal(error)]


def _counts(mask: np.ndarray) -> dict[int, int]:
    counts = np.bincount(mask.ravel(), minlength=256)
    return {value: int(counts[value]) for value in np.flatnonzero(counts).tolist()}


def _processes() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(os.environ.get("OMP_NUM_THREADS") or cores)))


def _calm() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)
