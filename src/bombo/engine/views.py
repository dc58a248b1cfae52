"""Views of a data file that some arms of an ablation train on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bombo.data.data_file import DataFile, label_space, load_data_file, named_classes, read_split
from bombo.data.data_file_text import data_file_text
from bombo.errors import BomboError, ConfigError
from bombo.files import atomic_write


def full_view(file: DataFile, path: Path, *, skip_bad: bool = False) -> Path:
    """Writes the data file again, with both annotations of all training images.

    Args:
        file: The data file.
        path: Where to write the view.
        skip_bad: Damaged images are no reason to refuse.

    Raises:
        ConfigError: A source knows one kind of annotation only.
        DataError: Images lack the other annotation.
    """
    train = [source.model_copy(update={"use": "both"}) for source in file.train]
    atomic_write(path, data_file_text(file.model_copy(update={"train": train}), path.parent))
    try:
        view = load_data_file(path)
        read_split(view, "train", label_space(view), skip_bad=skip_bad)
    except BomboError:
        path.unlink()
        raise
    return path


def single_view(file: DataFile, kind: Literal["boxes", "masks"], path: Path) -> Path:
    """Writes the data file again, with one kind of annotation of the training images that have it.

    Raises:
        ConfigError: None has.
    """
    train = [source.model_copy(update={"use": kind}) for source in file.train if source.use in (kind, "both")]
    if not train:
        raise ConfigError(f"no training source has {kind}", where=str(file.path))
    space = label_space(file)  # of all sources, in their order; those left may not know all classes
    left = set(named_classes(file.model_copy(update={"train": train})))
    classes, stuff = ([name for name in names if name in left] for names in (space.names, space.stuff))
    known = {"train": train, "classes": classes, "stuff": stuff or None}
    atomic_write(path, data_file_text(file.model_copy(update=known), path.parent))
    return path
