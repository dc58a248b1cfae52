"""BoMBo: one network that detects and segments, trained from images with boxes and images with masks."""

from bombo.checks.report import CheckReport
from bombo.data.label_space import LabelSpace
from bombo.engine.ablate import ablate
from bombo.engine.check import check
from bombo.engine.checkpoint import load
from bombo.engine.complete import Completion, complete
from bombo.engine.convert import convert
from bombo.engine.demo import demo
from bombo.engine.derive import Derivation, derive
from bombo.engine.evaluate import evaluate
from bombo.engine.export import Export, export
from bombo.engine.model import Model
from bombo.engine.predict import predict
from bombo.engine.report import Report, report
from bombo.engine.result import Result
from bombo.engine.split import split
from bombo.engine.train import Run, train
from bombo.errors import BomboError, ConfigError, DataError
from bombo.sharing.hub import push_to_hub

__all__ = [
    "BomboError",
    "CheckReport",
    "Completion",
    "ConfigError",
    "DataError",
    "Derivation",
    "Export",
    "LabelSpace",
    "Model",
    "Report",
    "Result",
    "Run",
    "ablate",
    "check",
    "complete",
    "convert",
    "demo",
    "derive",
    "evaluate",
    "export",
    "load",
    "predict",
    "push_to_hub",
    "report",
    "split",
    "train",
]
