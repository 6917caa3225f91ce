"""``audit``: a bundle's folder looked through, by every rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.auditing.code import allowed_in, check_code
from pipelines.auditing.contents import METADATA, Contents
from pipelines.auditing.drift import check_drift
from pipelines.auditing.findings import Finding, in_order
from pipelines.auditing.licences import check_licences
from pipelines.auditing.metrics import check_metrics
from pipelines.auditing.paths import check_paths
from pipelines.auditing.pickles import check_weights
from pipelines.auditing.readiness import check_label, check_zoo
from pipelines.auditing.references import check_references
from pipelines.auditing.rules import ERROR, LABEL, RULES, WARNING, ZOO
from pipelines.auditing.signing import check_manifest
from pipelines.auditing.stated_hashes import check_hashes
from pipelines.auditing.versions import check_versions
from pipelines.errors import UsageError

_CHECKS = (
    check_references, check_drift, check_metrics, check_paths, check_licences, check_weights, check_hashes,
    check_versions,
)  # fmt: skip
PURPOSES = {ZOO: ("model zoo", check_zoo), LABEL: ("MONAI Label", check_label)}


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        bundle: its folder.
        findings: the worst first.
        readiness: purpose -> what stands in its way, also where it was not asked for; empty where nobody looked.
        files: how many were there.
    """

    bundle: Path
    findings: list[Finding]
    readiness: dict[str, list[Finding]]
    files: int

    def count(self, level: str) -> int:
        """How many findings are of a level."""
        return sum(each.level == level for each in self.findings)

    def clean(self, *, strict: bool = False) -> bool:
        """Whether there is no error, nor, where that is asked, a warning."""
        return not self.count(ERROR) and not (strict and self.count(WARNING))


def audit(
    bundle: Path,
    *,
    purposes: Collection[str] = (),
    allow: Iterable[str] = (),
    ignore: Collection[str] = (),
    public_key: Path | None = None,
    look_at_readiness: bool = True,
) -> Audit:
    """Look a bundle's folder through. Nothing of it is evaluated, imported, unpickled or written.

    Args:
        bundle: its folder.
        purposes: "zoo" and "label": what it is to be ready for.
        allow: modules and dotted names that its configs may use beside the allow-list.
        ignore: rules that are left out.
        look_at_readiness: say what stands in the way of each purpose, also of those not asked for.
        public_key: by which its manifest must be signed; None to compare the manifest alone, where there is one.

    Raises:
        UsageError: it is no folder with configs, or there is no such purpose or rule.
        UnreadableFileError: the key cannot be read.
    """
    unknown = sorted({*ignore} - RULES.keys()) + sorted({*purposes} - PURPOSES.keys())
    if unknown:
        raise UsageError(
            f"there is no rule or purpose {unknown[0]!r}", how="python -m pipelines check --list-rules names them"
        )
    contents = Contents(bundle)
    if not bundle.is_dir():
        raise UsageError("there is no such folder", where=bundle, how="give a bundle's folder, or its name")
    if not contents.documents and METADATA not in contents.files:
        raise UsageError("this is no bundle: it has no configs/", where=bundle, how="give a bundle's folder")
    found: list[Finding] = []
    if not contents.about:
        found += [Finding("metadata-missing", METADATA, 0, "there are no metadata"), *contents.metadata.faults]
    for document in [*contents.documents.values(), *([contents.metadata] if contents.about else [])]:
        found += document.faults
    found += check_code(contents, allowed_in(contents, frozenset(allow)))
    for check in _CHECKS:
        found += check(contents)
    found += check_manifest(contents, public_key)
    looked = PURPOSES if look_at_readiness else purposes
    readiness = {purpose: in_order(list(PURPOSES[purpose][1](contents))) for purpose in looked}
    for purpose in purposes:
        found += readiness[purpose]
    kept = [each for each in found if each.rule not in ignore]
    return Audit(bundle, in_order(kept), readiness, len(contents.files))
