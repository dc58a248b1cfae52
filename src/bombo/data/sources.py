"""What a data file may say about one source of images: its format, where it lies, and which annotation may be read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from bombo.errors import did_you_mean

Use = Literal["boxes", "masks", "both"]
Byte = Annotated[int, Field(ge=0, le=255)]
ClassNames = Annotated[list[str], Field(min_length=1, max_length=254)]


class _Source(BaseModel):
    """What all formats have in common. Relative paths start at `root`, `root` at the data file's folder.

    `labelled_classes` are the classes an annotator looked for; of the others nothing is known on these images, whatever
    stands there. Without it these are the classes the source names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: Path = Field(description="the folder this source lies in")
    use: Use = Field(
        description="say which annotation of this source may be read, `boxes`, `masks` or `both`; "
        "what is not named is never opened and counts as not annotated"
    )
    list_file: Path | None = Field(default=None, alias="list", description="a text file that names the images to use")
    labelled_classes: list[str] | None = None

    @property
    def use_boxes(self) -> bool:
        """Whether boxes may be read."""
        return self.use != "masks"

    @property
    def use_masks(self) -> bool:
        """Whether masks may be read."""
        return self.use != "boxes"

    @field_validator("root")
    @classmethod
    def _from_the_data_file(cls, root: Path, info: ValidationInfo) -> Path:
        folder = _data_file_folder(info) / root.expanduser()
        if not folder.is_dir():
            raise ValueError(f"`root: {root}` is no folder ({folder} was looked for)")
        return folder

    @field_validator("list_file", mode="before")
    @classmethod
    def _find_list(cls, name: object, info: ValidationInfo) -> Path | None:
        if name is None or "root" not in info.data:
            return None
        root: Path = info.data["root"]
        places = [_data_file_folder(info), root, *cls._list_folders(root)]
        named = [place / str(name) for place in places]
        found = {path.resolve(): path for path in [*named, *(path.with_name(f"{path.name}.txt") for path in named)]}
        files = [path for path in found.values() if path.is_file()]
        if len(files) > 1:
            listed = ", ".join(map(str, files))
            raise ValueError(f"`list: {name}` could be any of {listed}. Say which, with its folder")
        if not files:
            known = sorted({path.stem for place in places for path in place.glob("*.txt")})
            raise ValueError(f"no list `{name}` was found. {did_you_mean(str(name), known) if known else ''}".strip())
        return files[0]

    @classmethod
    def _list_folders(cls, root: Path) -> list[Path]:
        return []


class VocSource(_Source):
    """A VOC devkit: JPEGImages, Annotations, SegmentationClass, ImageSets.

    `names` are the classes in the order of the mask values, from 1; without them `labelmap.txt` says it, and without
    that these are the 20 VOC classes.
    """

    format: Literal["voc"]
    names: ClassNames | None = None

    @classmethod
    def _list_folders(cls, root: Path) -> list[Path]:
        sets = root / "ImageSets"
        return [sets, *(folder for folder in sorted(sets.glob("*")) if folder.is_dir())]


class CocoSource(_Source):
    """A COCO instances JSON with a folder of images."""

    format: Literal["coco"]
    annotations: Path = Field(description="the instances JSON, under root")
    images: Path = Field(default=Path("images"), validate_default=True)

    @field_validator("annotations", "images")
    @classmethod
    def _exists(cls, path: Path, info: ValidationInfo) -> Path:
        return _under_root(path, info)


class YoloSource(_Source):
    """A data set as Ultralytics writes it: `yaml` names images and classes, `split` is the key to take there.

    Without `split` it is the key of the data file the source stands under; `list` takes the place of that key's entry.
    """

    format: Literal["yolo"]
    yaml: Path = Field(default=Path("data.yaml"), validate_default=True)
    split: Literal["train", "val", "test"] | None = None

    @field_validator("yaml")
    @classmethod
    def _exists(cls, path: Path, info: ValidationInfo) -> Path:
        return _under_root(path, info)


class FolderSource(_Source):
    """A folder of images and a folder of masks of the same file names (suffixes may differ).

    Masks hold values (`names`: a list for 1, 2, ... or a mapping value: name) or RGB colours (`colours`: a mapping
    name: [r, g, b]). Value 0 and black are background, value 255 is void, unless said otherwise; the names
    `background` and `void` may be mapped too.
    """

    format: Literal["folder"]
    images: Path = Field(default=Path("images"), validate_default=True)
    masks: Path = Field(default=Path("masks"), validate_default=True)
    names: ClassNames | dict[Byte, str] | None = None
    colours: dict[str, tuple[Byte, Byte, Byte]] | None = None

    @field_validator("use")
    @classmethod
    def _masks_only(cls, use: Use) -> Use:
        if use != "masks":
            raise ValueError(f"`use: {use}`: a folder of masks holds no boxes. Write `use: masks`")
        return use

    @field_validator("images", "masks")
    @classmethod
    def _exists(cls, path: Path, info: ValidationInfo) -> Path:
        return _under_root(path, info)

    @model_validator(mode="after")
    def _values_or_colours(self) -> FolderSource:
        if (self.names is None) == (self.colours is None):
            raise ValueError(
                "say what the masks hold: `names` for values, or `colours` for RGB colours (one of the two)"
            )
        return self


Source = Annotated[VocSource | CocoSource | YoloSource | FolderSource, Field(discriminator="format")]


def _data_file_folder(info: ValidationInfo) -> Path:
    context: dict[str, Any] = info.context or {}
    return Path(context.get("folder", ""))


def _under_root(path: Path, info: ValidationInfo) -> Path:
    if "root" not in info.data:  # root is reported already
        return path
    full: Path = info.data["root"] / path
    if not full.exists():
        beside = ". If the images lie in the root itself, write `images: .`" if info.field_name == "images" else ""
        raise ValueError(f"`{info.field_name}: {path}`: {full} does not exist{beside}")
    return full
