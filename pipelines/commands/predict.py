"""``predict``: segment or classify what lies at a path, and show how far it is."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pipelines import lean
from pipelines.bundle import Project, named_bundle, refuse_generating
from pipelines.commands.model_options import add_model_options, inference_overrides
from pipelines.errors import PipelinesError, UsageError
from pipelines.predicted import INPUTS
from pipelines.preparation.case_list import SPLITS, read_case_list
from pipelines.sigterm import SigtermUnwinds

if TYPE_CHECKING:
    from tqdm import tqdm

    from pipelines.prediction import Outcome

EXIT_SOME_NOT_DONE = 3  # of several cases some were refused or failed
PASSWORD, TOKEN = "DICOMWEB_PASSWORD", "DICOMWEB_TOKEN"  # environment; never on the command line, which others see
_BAR = "{desc} {percentage:3.0f} % |{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}]{postfix}"


def add_parser(commands: argparse._SubParsersAction, project: Callable[[argparse.Namespace], Project]) -> None:
    predict = commands.add_parser(
        "predict", help="segment or classify a picture, a volume, a DICOM series, or a folder of many"
    )
    predict.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder, or its name under bundles/")
    predict.add_argument(
        "input", type=Path, metavar="INPUT", nargs="?", help="or --datalist, or --dicomweb with --study"
    )
    predict.add_argument(
        "--datalist",
        type=Path,
        metavar="FILE",
        help="in the place of INPUT: a datalist.json, or paths as JSON, CSV or text, relative to FILE's folder",
    )
    predict.add_argument("--split", choices=SPLITS, help="of the datalist (default: test)")
    predict.add_argument("--out", type=Path, required=True, metavar="DIR")
    add_model_options(predict)
    predict.add_argument(
        "--series", metavar="UID|NUMBER", help="only the DICOM series with this SeriesInstanceUID or SeriesNumber"
    )
    predict.add_argument(
        "--dicom", action="store_true", help="of DICOM input also DICOM SEG, SR and a preview (the bundle's dicom.yaml)"
    )
    predict.add_argument(
        "--keep-identifiers",
        action="store_true",
        help="name cases and inputs by their paths, also where these tell a patient's name, ID, dates or UIDs",
    )
    predict.add_argument(
        "--resume",
        action="store_true",
        help="leave out the cases that DIR's manifest has as done, of equal input, weights and options",
    )
    ray = predict.add_argument_group("on several processors or machines, by Ray")
    ray.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="a cluster: auto, HOST:PORT or ray://HOST:PORT (without ADDRESS: one of this machine alone)",
    )
    ray.add_argument("--workers", type=int, metavar="N", help="(default: one a processor, or one a GPU)")
    web = predict.add_argument_group("in the place of INPUT, studies of a DICOMweb server")
    web.add_argument("--dicomweb", metavar="URL", help="the address that studies lie below; --dicom is implied")
    web.add_argument(
        "--study", action="append", default=[], metavar="UID", help="a StudyInstanceUID (may be given again)"
    )
    web.add_argument("--store", action="store_true", help="store SEG, SR and preview in the study they are of")
    web.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the fetched series here (default: removed)")
    web.add_argument(
        "--dicomweb-user",
        metavar="NAME",
        help=f"with its password in the environment's {PASSWORD} (or a bearer's token in {TOKEN})",
    )
    web.add_argument("--ca-file", type=Path, metavar="PEM", help="certificates to trust (default: the system's)")
    web.add_argument("--plain-http", action="store_true", help="http to another machine too, through your own tunnel")
    predict.set_defaults(func=lambda args: _predict(args, project(args)))


def _predict(args: argparse.Namespace, project: Project) -> int:
    with SigtermUnwinds():  # or unpacked scans and fetched weights, which go at exit, would stay in TMPDIR
        try:
            return _predict_cases(args, project)
        except KeyboardInterrupt:
            begun = (args.out / "manifest.jsonl").is_file()
            said = (
                f"{args.out} has what is done; the same command with --resume goes on"
                if begun
                else "nothing is done yet"
            )
            print(f"interrupted: {said}", file=sys.stderr)
            return 130


def _check_input(args: argparse.Namespace) -> None:
    if sum(each is not None for each in (args.input, args.datalist, args.dicomweb)) != 1:
        if args.ray is not None and Path(args.ray).exists():
            raise UsageError(f"{args.ray} was read as the address of --ray", how="give INPUT before --ray")
        raise UsageError("give INPUT, --datalist FILE, or --dicomweb URL with --study UID: one of them")
    if args.split is not None and args.datalist is None:
        raise UsageError("--split is for --datalist alone", how="give --datalist, or leave it out")
    if args.ray is None and args.workers is not None:
        raise UsageError("--workers is for --ray alone", how="give --ray, or leave it out")
    if args.ray is not None:
        _check_ray(args)
    if args.dicomweb is not None and not args.study:
        raise UsageError("--dicomweb needs the study to fetch", how="give --study with its StudyInstanceUID")
    if args.dicomweb is None:
        of_server = {
            "--study": args.study, "--store": args.store, "--keep": args.keep,
            "--dicomweb-user": args.dicomweb_user, "--ca-file": args.ca_file, "--plain-http": args.plain_http,
        }  # fmt: skip
        if given := [option for option, value in of_server.items() if value]:
            raise UsageError(f"{', '.join(given)} is for --dicomweb alone", how="give --dicomweb, or leave it out")


def _check_ray(args: argparse.Namespace) -> None:
    from pipelines.distributed import check_address

    if args.dicomweb is not None:
        raise UsageError(
            "--ray does not go with --dicomweb", how="fetch with --keep, then predict the folder with --ray"
        )
    if args.workers is not None and args.workers < 1:
        raise UsageError(f"--workers is {args.workers}", how="give 1 or more")
    if args.device not in (None, "cpu", "cuda"):
        raise UsageError(
            f"--device is {args.device}, and Ray gives each worker its GPU", how="give cpu, or leave it out"
        )
    check_address(args.ray)


def _predict_cases(args: argparse.Namespace, project: Project) -> int:
    _check_input(args)
    listed = None if args.datalist is None else read_case_list(args.datalist, args.split)
    print(f"looking at {args.input or args.datalist or 'the server'}", flush=True)  # the imports take some seconds
    with lean.starting() if args.own_process else contextlib.nullcontext():
        import torch
        from tqdm import tqdm

        from pipelines.distributed import RayJob
        from pipelines.loading import chosen
        from pipelines.prediction import predict

    bundle = named_bundle(args.bundle, project.bundles)
    refuse_generating(bundle, "predict")
    if args.ray is None:
        overrides = chosen(project, args.checkpoint, args.device)
    else:  # the device is the workers'; weights that are fetched must lie where they see them
        overrides = chosen(project, args.checkpoint, None, args.out)
        overrides |= {} if args.device is None else {"device": torch.device(args.device)}
    overrides |= inference_overrides(args, bundle)
    logging.getLogger("pipelines.runtimes").setLevel(logging.INFO)  # which one is taken, and why
    faults: list[PipelinesError] = []
    with tqdm(desc="cases", leave=False, bar_format=_BAR, disable=not sys.stderr.isatty()) as bar:
        shown = _Shown(bar)
        options = {
            "network": args.network, "series": args.series, "resume": args.resume,
            "keep_identifiers": args.keep_identifiers,
            "report": shown.case, "progress": shown.within, **overrides,
        }  # fmt: skip
        if args.ray is not None:
            options["elsewhere"] = RayJob(args.ray, args.workers, args.device, logs=args.verbose, tell=shown.line)
        if args.dicomweb is None:
            overlays = [*args.overlay, *(["dicom"] if args.dicom else [])]
            source = listed or (args.input if args.ray is None else args.input.absolute())
            outcomes = predict(bundle, source, args.out, overlays=overlays, **options)
        else:
            outcomes, faults = _of_server(args, bundle, options, shown)
    codes = [code for _, code in outcomes]
    if len(codes) > 1:
        counts = Counter(outcome.status for outcome, _ in outcomes)
        said = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
        print(f"{codes.count(0)} of {len(codes)} cases done ({said}); see {args.out / 'manifest.jsonl'}")
    if (args.out / INPUTS).is_file():
        print(f"what is hidden in names is in {args.out / INPUTS}; --keep-identifiers hides nothing")
    print(f"look at it: {args.out / 'index.html'}, or python -m pipelines view {args.out}")
    if faults:
        return faults[0].exit_code if codes.count(0) == len(codes) else EXIT_SOME_NOT_DONE
    if len(codes) == 1:
        return codes[0]
    return 0 if codes.count(0) == len(codes) else EXIT_SOME_NOT_DONE


def _of_server(
    args: argparse.Namespace, bundle: Path, options: dict[str, Any], shown: _Shown
) -> tuple[list[tuple[Outcome, int]], list[PipelinesError]]:
    from pipelines.dicomweb import Server, predict_studies

    user = args.dicomweb_user
    server = Server(
        args.dicomweb,
        user=user,
        password=os.environ.get(PASSWORD) if user else None,
        token=os.environ.get(TOKEN) if not user else None,
        ca_file=args.ca_file,
        plain_http=args.plain_http,
    )
    answered = predict_studies(
        server,
        bundle,
        args.study,
        args.out,
        store=args.store,
        keep=args.keep,
        tell=shown.line,
        fault=lambda error: shown.line(f"error: {error}", sys.stderr),
        overlays=args.overlay,
        **options,
    )
    if args.store:
        print(f"{answered.stored} objects stored in {args.dicomweb}")
    return answered.outcomes, answered.faults


class _Shown:
    """A line a case, and on a terminal a bar that also moves within a case."""

    def __init__(self, bar: tqdm) -> None:
        self.bar = bar
        self.done = 0

    def case(self, outcome: Outcome | None, done: int, total: int) -> None:
        from tqdm import tqdm

        self.done = done
        self.bar.total, self.bar.n = total, done
        self.bar.set_postfix_str("", refresh=True)
        if outcome is None:
            left_out = f", {done} of them done by an earlier call" if done else ""
            with tqdm.external_write_mode(sys.stdout):
                print(f"{total} case{'s' if total != 1 else ''}{left_out}", flush=True)
            return
        stream = sys.stderr if outcome.error else sys.stdout
        self.line(f"{outcome.status}: {outcome.error or outcome.mask or outcome.report}", stream)

    def line(self, text: str, stream: TextIO | None = None) -> None:
        from tqdm import tqdm

        with tqdm.external_write_mode(stream or sys.stdout):  # the bar makes way for the line
            print(text, file=stream or sys.stdout, flush=True)

    def within(self, name: str, done: int, total: int) -> None:
        self.bar.n = self.done + done / max(total, 1)
        self.bar.set_postfix_str(f"{name}, slice {done} of {total}" if total > 1 else name, refresh=False)
        self.bar.update(0)
