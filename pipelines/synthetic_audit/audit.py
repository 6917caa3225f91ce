"""The audit from its pictures to its page, in one run of the tracking store."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.bundle import description
from pipelines.cross_validation import CrossValidation
from pipelines.cross_validation.plan import Say
from pipelines.files import held
from pipelines.sigterm import SigtermUnwinds, Terminated
from pipelines.synthetic_audit.closeness import closeness
from pipelines.synthetic_audit.pictures import Pictures, gather, write_data
from pipelines.synthetic_audit.plan import Audit
from pipelines.synthetic_audit.report import make_report, write_report
from pipelines.synthetic_audit.results import METRICS, work_out
from pipelines.synthetic_audit.rules import rules, weaknesses
from pipelines.synthetic_audit.trainings import Measured, run_trainings
from pipelines.tracking.run_contents import commit, log_data, versions
from pipelines.tracking.run_file import RunRecord, read_run_file, write_run_file
from pipelines.tracking.run_writer import RunWriter
from pipelines.tracking.store import open_store, redact

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """The files that an audit wrote, and its answer in a sentence."""

    paths: Sequence[Path]
    answer: str


def run_audit(audit: Audit, say: Say = logger.info) -> Done:
    """Train each network with and without generated pictures, measure all on the same real test cases, and write
    ``summary.json``, ``audit.csv``, ``audit.md``, ``audit.html`` and ``differences.png``.

    What the store has of it is kept; a training that was begun goes on from its last checkpoint.

    Args:
        say: told what happens, in lines.

    Raises:
        UsageError: see ``Audit.check``; a training failed. DatalistError, UnreadableFileError, WeightsError: pictures,
            generators or weights cannot be used. TrackingError: the store cannot be used.
        OutputError: a file cannot be written, or another call writes to ``out``.
    """
    audit.check()
    with held(audit.out, ".auditing.lock"):
        return _run_audit(audit, say)


def _run_audit(audit: Audit, say: Say) -> Done:
    say("gathering pictures")
    pictures = gather(audit)
    data = write_data(audit, pictures)
    trainings = audit.trainings(pictures.real, pictures.size)
    parent = _parent_run(audit, data)
    try:
        with SigtermUnwinds():
            found = run_trainings(audit, trainings, data, pictures, parent.run_id, say)
            done = _report(audit, pictures, found, say)
    except BaseException as error:
        parent.end("KILLED" if isinstance(error, (KeyboardInterrupt, Terminated)) else "FAILED")
        raise
    for path in done.paths:
        parent.file(path, "audit")
    parent.end("FINISHED")
    return done


def _parent_run(audit: Audit, data: Path) -> RunWriter:
    """The run that the trainings' runs are nested in; an audit that goes on gets its run back."""
    open_store(audit.uri)
    earlier = read_run_file(audit.out)
    if earlier is not None and earlier.tracking_uri == redact(audit.uri):
        writer = RunWriter(audit.uri, earlier.run_id, audit.out)
        if writer.exists():
            return writer
    writer = RunWriter(audit.uri, folder=audit.out)
    tags = {"audit": "synthetic", **versions(), **commit()}
    started = writer.start(audit.bundle.name, "synthetic-audit", tags, description(audit.bundle), "audit")
    writer.params({"networks": " ".join(audit.networks), "seeds": " ".join(map(str, audit.seeds))})
    writer.params({"arms": json.dumps([arm.name for arm in audit.arms]), "equal": audit.equal})
    log_data(writer, data / "datalist.json", "audit")
    if started is not None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        write_run_file(audit.out, RunRecord(started, audit.bundle.name, redact(audit.uri), "audit", now))
    return writer


def _report(audit: Audit, pictures: Pictures, found: Sequence[Measured], say: Say) -> Done:
    say("testing the differences")
    plan = CrossValidation(audit.bundle, audit.prepared, audit.out, audit.uri, knobs=audit.knobs)
    metric = plan.key_metric.removeprefix("test_")
    results = work_out(found, metric if metric in METRICS else METRICS[0])
    weights = audit.feature_weights or audit.bundle / "models" / f"{plan.name}.safetensors"
    near, reason = None, ""
    if weights.is_file() or audit.feature_weights is not None:
        say("comparing generated pictures with real ones")
        near = closeness(plan, weights, pictures)
    else:
        reason = f"Not measured: the bundle ships no weights of {plan.name}; give --feature-weights FILE."
    trainings = [each.training for each in found]
    report = make_report(
        results,
        near,
        bundle=audit.bundle.name,
        phantom=bool(pictures.content.get("phantom")),
        warnings=weaknesses(audit, pictures, trainings),
        rules=rules(audit, pictures, trainings),
        no_closeness=reason,
    )
    facts = {
        "bundle": audit.bundle.name,
        "data": {key: pictures.content.get(key) for key in ("name", "fingerprint", "phantom")},
        "phantom": report.phantom,
        "runs": {each.training.name: each.run_id for each in found},
    }
    paths = write_report(report, results, near, facts, datetime.now().astimezone(), audit.out)
    return Done(paths, report.answer)
