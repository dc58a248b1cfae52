"""BoMBo: one network that detects and segments, trained from images with boxes and images with masks."""

from bombo.data.label_space import LabelSpace
from bombo.engine.ablate import ablate
from bombo.engine.checkpoint import load
from bombo.engine.derive import Derivation, derive
from bombo.engine.evaluate import evaluate
from bombo.engine.model import Model
from bombo.engine.predict import predict
from bombo.engine.result import Result
from bombo.engine.split import split
from bombo.engine.train import Run, train
from bombo.errors import BomboError, ConfigError, DataError

__all__ = [
    "BomboError",
    "ConfigError",
    "DataError",
    "Derivation",
    "LabelSpace",
    "Model",
    "Result",
    "Run",
    "ablate",
    "derive",
    "evaluate",
    "load",
    "predict",
    "split",
    "train",
]
