"""The command line: parses, calls the function of the same name, prints. No logic."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import Annotated, Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import torch
import typer
from rich.console import Console
from typer.core import TyperCommand

from bombo import distributed
from bombo.engine import (
    ablate,
    check,
    complete,
    convert,
    demo,
    derive,
    evaluate,
    export,
    overview,
    predict,
    report,
    split,
    train,
)
from bombo.engine.settings import TrainSettings
from bombo.errors import BomboError, ConfigError
from bombo.sharing import hub
from bombo.wording import counted

app = typer.Typer(
    name="bombo",
    help="One network for detection and segmentation, trained from images with boxes and images with masks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Body = TypeVar("Body", bound=Callable[..., None])
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"bombo {importlib.metadata.version('bombo')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command line; an error a user can mend ends it with a message and code 1 (2 for unusable settings)."""
    try:
        app()
    except torch.OutOfMemoryError:
        _fail("the memory of the GPU is full\n  fix: a smaller --batch-size or --size", 1)
    except BomboError as error:
        _fail(str(error), 2 if isinstance(error, ConfigError) else 1)


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(f"bombo: {message}", style="red", markup=False, highlight=False)
    sys.exit(code)


def _command(
    function: Callable[..., Any], signature: inspect.Signature | None = None, epilog: str = ""
) -> Callable[[Body], Body]:
    """Registers a command with the parameters of `function`; the decorated body gets what was typed."""
    hints = get_type_hints(function, include_extras=True)
    parameters = (signature or inspect.signature(function)).parameters.values()
    shown = [p.replace(annotation=hints.get(p.name, p.annotation), kind=_KEYWORD) for p in parameters]

    def register(body: Body) -> Body:
        extra = [p for p in inspect.signature(body, eval_str=True).parameters.values() if p.name != "given"]

        def run(ctx: typer.Context, **values: Any) -> None:
            own = {p.name: values.pop(p.name) for p in extra}
            typed = {n: v for n, v in values.items() if _was_typed(ctx, n)}
            body(typed, **own)

        context = inspect.Parameter("ctx", _KEYWORD, annotation=typer.Context)
        added = [p.replace(kind=_KEYWORD) for p in extra]
        run.__signature__ = inspect.Signature([context, *shown, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in (context, *shown, *added)}
        name = body.__name__.strip("_").replace("_", "-")
        app.command(name, cls=_ModelByName, help=inspect.getdoc(body), epilog=epilog or None)(run)
        return body

    return register


class _ModelByName(TyperCommand):
    """Takes `--model runs/pets-1 photos/` for `runs/pets-1 photos/`: where a network is optional, it is `--model`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if any(p.name == "model" and p.param_type_name == "argument" for p in self.params):
            args = [part for word in args for part in (word.split("=", 1) if word.startswith("--model=") else [word])]
            if "--model" in args[:-1]:
                at = args.index("--model")
                args = [args[at + 1], *args[:at], *args[at + 2 :]]
        return super().parse_args(ctx, args)


def _train_signature() -> inspect.Signature:
    """The fields of `TrainSettings` as options, grouped as its base classes group them.

    The opposite of a switch is an option of its own, hidden: it would make the help too wide for a terminal.
    """
    types = get_type_hints(TrainSettings)  # without the ranges, which the settings check themselves
    parameters = []
    for name, field in TrainSettings.model_fields.items():
        group = next(c for c in reversed(TrainSettings.__mro__) if name in getattr(c, "__annotations__", {}))
        switch = types[name] in (bool, bool | None)
        flag, panel = name.replace("_", "-"), group.__name__.strip("_")
        option = typer.Option(f"--{flag}", help=field.description, rich_help_panel=panel, show_default=not switch)
        text = any(get_origin(kind) is dict for kind in get_args(types[name]))  # NAME=WEIGHT,...: the settings read it
        annotation: Any = Annotated[str | None if text else types[name], option]
        default = None if text else field.default
        parameters.append(inspect.Parameter(name, _KEYWORD, default=default, annotation=annotation))
        if switch:
            opposite = Annotated[bool, typer.Option(f"--no-{flag}", hidden=True)]
            parameters.append(inspect.Parameter(f"no_{name}", _KEYWORD, default=False, annotation=opposite))
    return inspect.Signature(parameters)


@_command(
    train.train,
    _train_signature(),
    epilog="Go on with a run: `bombo train --resume runs/pets-1`\n\n"
    "Every switch has its opposite, such as `--no-compile`, against a file or a resumed run that has it on.",
)
def _train(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Train one network from images annotated with boxes, with masks, or with both.

    A data file says which images carry which annotation (see the README). For instance:

    `bombo train --data pets.yaml --backbone resnet18 --epochs 30`
    """
    settings = {name.removeprefix("no_"): False if name.startswith("no_") else value for name, value in given.items()}
    with _watched(as_json):
        run = train.train(**settings)
    if as_json and distributed.is_main():
        _show(run.to_json())
    if run.stopped == "interrupted":
        raise typer.Exit(130)  # what a shell reports for Ctrl-C


@_command(evaluate.evaluate)
def _evaluate(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Measure a trained network: mAP and mIoU, per class.

    `bombo evaluate runs/pets-1 --data pets.yaml`
    """
    evaluation = evaluate.evaluate(**given)
    if distributed.is_main():
        _show(evaluation.to_json() if as_json else overview.evaluation_table(evaluation))


@_command(
    predict.predict,
    epilog="Large images, such as aerial ones, in overlapping windows: `bombo predict runs/cars-1 aerial/ --tile 640`",
)
def _predict(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Detect and segment: write overlays, masks and COCO results.

    `bombo predict runs/pets-1 photos/ --out seen`
    """
    entries = predict.predict(**given)
    if distributed.is_main():
        out = given.get("out", predict.OUT)
        names = ("overlays", "masks", "predictions.json", "skipped.json")
        wrote = "   ".join(str(out / name) for name in names if (out / name).exists())
        least = given.get("min_score", predict.MIN_SCORE)
        found = f"{counted(len(entries), 'detection')} from a score of {least:g} on (--min-score)"
        _show(entries if as_json else f"{found}\nwrote     {wrote}")


@_command(
    check.check,
    epilog="Ends with 1 if there are errors: `bombo check pets.yaml --strict && bombo train --data pets.yaml`",
)
def _check(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Look a data set over before training: what it holds, what is wrong with it, how to mend it.

    `bombo check pets.yaml`
    """
    found = check.check(**given)
    if as_json:
        _show(found.to_json())
    else:
        found.show(Console())
    raise typer.Exit(found.exit_code)


@_command(split.split)
def _split(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Cut fully annotated images into a part with boxes only and a part with masks only.

    `bombo split pets.yaml --out partial`
    """
    _show(facts if (facts := split.split(**given)) and as_json else split.describe(facts))


@_command(
    convert.convert,
    epilog="Boxes of masks: `bombo convert street.yaml street_boxes.json --boxes-from-masks --model runs/street-1`\n\n"
    "Masks of boxes: `bombo convert pets.yaml pets_masks --to folder --masks-from-boxes grabcut`\n\n"
    "Mended, as far as a command can: `bombo convert pets.yaml pets-fixed --to coco --repair`",
)
def _convert(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Convert between VOC, COCO, YOLO and folders of masks, and tell what is lost on the way.

    `bombo convert VOCdevkit/VOC2012 voc_as_coco --to coco`
    """
    result = convert.convert(**given)
    _show(result.to_json() if as_json else result.describe(judged="model" in given))


@_command(derive.derive)
def _derive(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Show what boxes say about masks and masks about boxes, and how right it is where both are known.

    `bombo derive pets.yaml --model runs/pets-1`
    """
    with _watched(as_json):
        derivation = derive.derive(**given)
    if as_json:
        _show(derivation.to_json())


@_command(complete.complete)
def _complete(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Fill in what is missing: masks for images with boxes, boxes for images with masks; the most doubtful first.

    `bombo complete pets.yaml --model runs/pets-1`

    In CVAT, import a zip of what is in `completed/voc` (*PASCAL VOC 1.1*: boxes and masks), or
    `completed/coco/annotations/instances_default.json` (*COCO 1.0*: polygons). For Label Studio, turn that file into
    tasks first, with the converter of `pip install label-studio-sdk`:

    `label-studio-converter import coco -i completed/coco/annotations/instances_default.json -o tasks.json --out-type
    predictions --image-root-url "/data/local-files/?d=images"`
    """
    result = complete.complete(**given)
    _show(result.to_json() if as_json else complete.describe(result))


@_command(ablate.ablate)
def _ablate(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Train arms that differ in a few settings, with several seeds each, and compare them.

    `bombo ablate --data pets.yaml --config small.yaml --seeds 0,1 --parallel 2`

    Stop with Ctrl-C; the same command goes on.
    """
    with _watched(as_json):
        ablation = ablate.ablate(**given)
    if as_json:
        _show(ablation.to_json())
    if ablation.interrupted or ablation.failed:
        raise typer.Exit(130 if ablation.interrupted else 1)


@_command(
    export.export,
    epilog="Without BoMBo: `bombo export runs/pets-1 --end-to-end`, and see examples/onnx_without_bombo.py",
)
def _export(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Write a trained network as ONNX or torch.export, and make sure that it says the same.

    `bombo export runs/pets-1`
    """
    written = export.export(**given)
    _show(written.to_json() if as_json else export.describe(written))


@_command(report.report)
def _report(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Write one HTML file on what a run was fed, how it learned, where it is good and bad, with pictures.

    `bombo report runs/pets-1`

    `bombo report runs/pets-1 runs/pets-2 --out both.html`
    """
    written = report.report(**given)
    _show(written.to_json() if as_json else report.describe(written))


@_command(demo.demo)
def _demo(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Generate a small world, train on it with and without weak losses, compare, predict: four minutes on a laptop.

    `bombo demo`
    """
    with _watched(as_json):
        ablation = demo.demo(**given)
    if as_json:
        _show(ablation.to_json())


@_command(hub.push_to_hub)
def _push_to_hub(given: dict[str, Any], as_json: AsJson = False) -> None:
    """Share a trained network on the Hugging Face hub, with a model card.

    `bombo push-to-hub runs/pets-1 jane/pets`

    `bombo push-to-hub runs/pets-1 jane/pets --only-write card` shows first what would be sent.
    """
    written = hub.push_to_hub(**given)
    _show({"wrote": written} if as_json else f"wrote     {written}")


def _watched(as_json: bool) -> AbstractContextManager[Any]:
    """For commands that talk while they work: that goes to stderr where stdout is to hold JSON and nothing else."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def _was_typed(ctx: typer.Context, name: str) -> bool:
    """Whether an option was given, so that a configuration file may fill in the others."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _show(result: Any) -> None:
    if isinstance(result, (dict, list)):
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    else:
        Console().print(result, highlight=False, soft_wrap=isinstance(result, str), markup=False)
