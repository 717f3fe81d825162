"""The `sparrow` command: parse, call, print."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from sparrow import __version__
from sparrow.errors import ConfigError, SparrowError


class _Commands(typer.core.TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        # Here, inside typer: it turns an interrupt that reaches it into an exit without a word.
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)


app = typer.Typer(
    name="sparrow",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    help="Train and inspect recommendation models with dynamic embedding tables.",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at data, and make some.")
app.add_typer(data_app, name="data")
bench_app = typer.Typer(no_args_is_help=True, help="Measure operators and training steps, from a checkout.")
app.add_typer(bench_app, name="bench")

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"sparrow {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A run as YAML; see configs/.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the configuration, such as run.epochs=2.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run of the run folder at the next unseen row.")] = False,
    debug: Debug = False,
) -> None:
    """Train the model a YAML file describes."""
    from sparrow.cli.show import print_summary
    from sparrow.pipelines.load_config import load_run_config, parse_overrides
    from sparrow.pipelines.run import train_run

    resolved = load_run_config(config, parse_overrides(overrides or []))
    print_summary(train_run(resolved, resume=resume), resolved.run.folder)


@app.command("eval")
def evaluate(
    path: Annotated[Path, typer.Argument(help="A run folder, or a checkpoint inside one.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to its configuration, such as run.device=cpu.")
    ] = None,
    data: Annotated[list[str] | None, typer.Option("--data", help="Files, folders or globs; default: the run's data.eval.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Evaluate a trained model."""
    from sparrow.cli.show import print_evaluation
    from sparrow.pipelines.load_config import parse_overrides
    from sparrow.pipelines.run import evaluate_run

    print_evaluation(evaluate_run(path, data, parse_overrides(overrides or [])), as_json=as_json)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A checkpoint, or a run folder (its newest checkpoint).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what a checkpoint holds: tables, ids, bytes, dense tensors."""
    from sparrow.cli.show import print_checkpoint
    from sparrow.pipelines.run import newest_checkpoint
    from sparrow.saver import describe_checkpoint

    print_checkpoint(describe_checkpoint(newest_checkpoint(path)), as_json=as_json)


Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="Files, folders, globs, or URLs.")]


@data_app.command("head")
def head(
    files: Files,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many rows.")] = 10,
    columns: Annotated[str | None, typer.Option("--columns", help="Names, by commas; all by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON a row.")] = False,
    debug: Debug = False,
) -> None:
    """Show the first rows of files."""
    from sparrow.cli.show_data import print_head
    from sparrow.io.peek import read_head

    print_head(read_head(files, rows, columns.split(",") if columns else None), as_json=as_json)


@data_app.command("schema")
def schema(
    files: Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show the columns of files, what a Dataset makes of them, and how files differ."""
    from sparrow.cli.show_data import print_schema
    from sparrow.io.peek import read_schema

    print_schema(read_schema(files), as_json=as_json)


@data_app.command("stats")
def stats(
    files: Files,
    columns: Annotated[str | None, typer.Option("--columns", metavar="A,B", help="Only these columns.")] = None,
    rows: Annotated[int | None, typer.Option("--rows", help="Scan the first rows only.", min=1)] = None,
    page: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Show what columns hold: missing rates, distinct values, lengths, ranges, the most frequent values."""
    from sparrow.cli.show_stats import print_stats, show_scan_progress, write_page
    from sparrow.io.stats.scan import scan

    with show_scan_progress() as progress:
        found = scan(files, columns.split(",") if columns else None, rows, progress)
    if page is not None:
        write_page(found, page)
    print_stats(found, page, as_json=as_json)


@data_app.command("fit")
def fit(
    config: Annotated[Path, typer.Argument(help="A run as YAML whose features learn from data.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the configuration.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the features go: `features: FILE` then trains on them.")] = Path(
        "features.json"
    ),
    debug: Debug = False,
) -> None:
    """Learn quantiles, scales and vocabularies of features from data.train."""
    from sparrow.cli.show_fit import print_fitted
    from sparrow.cli.show_stats import show_scan_progress
    from sparrow.pipelines.fit_features import fit_features
    from sparrow.pipelines.load_config import load_run_config, parse_overrides

    resolved = load_run_config(config, parse_overrides(overrides or []))
    with show_scan_progress() as progress:
        fitted = fit_features(resolved, out, progress)
    print_fitted(fitted, out)


@data_app.command("synth")
def synth(
    folder: Annotated[Path, typer.Argument(help="Where to write: a new folder, or one that holds these very rows.")],
    rows: Annotated[int, typer.Option("--rows", help="Training rows.")] = 500_000,
    eval_rows: Annotated[int, typer.Option("--eval-rows", help="Evaluation rows.")] = 100_000,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal rows, bit for bit.")] = 1,
    debug: Debug = False,
) -> None:
    """Write Criteo-shaped click data whose best reachable AUC is known."""
    from sparrow.cli.show import print_synth, show_synth_progress
    from sparrow.synth import SynthSpec, generate

    print_synth(generate(folder, SynthSpec(rows=rows, eval_rows=eval_rows, seed=seed), show_synth_progress()))


Device = Annotated[str, typer.Option("--device", metavar="cpu|cuda", help="Where to measure.")]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Append the results to this file, a line of JSON each.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of the CPU.")]
Runs = Annotated[int, typer.Option("--runs", min=1, help="Samples a median is taken of.")]
Quick = Annotated[bool, typer.Option("--quick", help="Tiny inputs: shows that everything runs and agrees; figures mean nothing.")]


@app.command("tune")
def tune(
    device: Annotated[str, typer.Option("--device", help="The GPU: cuda or cuda:N.")] = "cuda",
    dim: Annotated[
        list[int] | None, typer.Option("--dim", help="Values a row; may be given more than once. Default: 16, 32, 64, 128.")
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option("--dtype", help="Of the weights; may be given more than once. Default: float32.")
    ] = None,
    rule: Annotated[list[str] | None, typer.Option("--rule", help="Update rules; may be given more than once. Default: adam, sgd.")] = None,
    debug: Debug = False,
) -> None:
    """Measure once how kernels over rows are best launched on this machine's GPU, and keep it."""
    from sparrow.cli.show_tune import tune_device

    tune_device(device, dim or [16, 32, 64, 128], dtype or ["float32"], rule or ["adam", "sgd"])


@bench_app.command("ops")
def bench_ops(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Operators; all of them by default.")] = None,
    device: Device = "cpu",
    threads: Threads = 2,
    runs: Runs = 7,
    json_file: JsonFile = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write a plot against a plain copy.")] = None,
    quick: Quick = False,
    debug: Debug = False,
) -> None:
    """Measure every operator beside plain PyTorch: bytes it must move, time, share of the memory bandwidth."""
    shared = _benchmark_options(device, threads, runs, json_file, quick)
    _bench("operators", [*(names or []), *shared, *([f"--svg={svg}"] if svg else [])])


@bench_app.command("step")
def bench_step(
    device: Device = "cpu",
    threads: Threads = 2,
    runs: Runs = 7,
    json_file: JsonFile = None,
    quick: Quick = False,
    debug: Debug = False,
) -> None:
    """Measure forward, backward and update of embedding tables, beside FBGEMM where it is installed."""
    _bench("step", _benchmark_options(device, threads, runs, json_file, quick))


def _benchmark_options(device: str, threads: int, runs: int, json_file: Path | None, quick: bool) -> list[str]:
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: must be cpu or cuda")
    shared = [f"--device={device}", f"--threads={threads}", f"--runs={runs}"]
    return [*shared, *([f"--json={json_file}"] if json_file else []), *(["--quick"] if quick else [])]


def _bench(name: str, arguments: list[str]) -> None:
    from sparrow.cli.bench import run_benchmarks

    raise typer.Exit(run_benchmarks(name, arguments))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Exit codes: 0 done, or stopped by a signal after saving; 1 a defect of Sparrow; 2 an error the user can mend; 130 interrupted at once.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, standalone_mode=True)
    except SparrowError as error:
        _fail(str(error), with_traceback="--debug" in given)
    except OSError as error:
        message = f"{error.filename or 'the system'}: {error.strerror or error}; check the path, its permissions and the disk"
        _fail(message, with_traceback="--debug" in given)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("sparrow"):
            raise
        package = error.name.partition(".")[0]
        message = f"this command needs the package {package!r}, which is not installed; run: pip install 'sparrow-rec[train]'"
        _fail(message, with_traceback="--debug" in given)


def _fail(message: str, *, with_traceback: bool) -> NoReturn:
    """Print one line, whatever a file's name may hold, below the traceback where that is wanted, and exit with code 2."""
    if with_traceback:
        traceback.print_exc()
    print(f"error: {' '.join(message.splitlines())}", file=sys.stderr)
    sys.exit(2)


def command_options() -> dict[str, Any]:
    """Return command -> its options, sorted: the public surface that a test pins."""

    def options(command: Any, prefix: str) -> dict[str, list[str]]:
        if hasattr(command, "commands"):
            return {key: value for name, sub in command.commands.items() for key, value in options(sub, f"{prefix} {name}").items()}
        return {prefix: sorted(option for parameter in command.params for option in parameter.opts if option.startswith("--"))}

    return options(typer.main.get_command(app), "sparrow")


if __name__ == "__main__":
    main()
