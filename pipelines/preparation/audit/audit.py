"""The audit as a whole: what stands on both sides of a split, and what else makes figures worth less."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import NamedTuple

from pipelines.preparation.audit.items import AuditedList, Item
from pipelines.preparation.audit.labels import Suspect, denied_classes, unlike_copies, unusual_masks
from pipelines.preparation.audit.looks import Look, look_at
from pipelines.preparation.audit.neighbours import Pair, pairs_of
from pipelines.preparation.audit.shift import prior_shift
from pipelines.preparation.sections import SECTIONS
from pipelines.preparation.splits import SplitCase, split_warnings


class Both(NamedTuple):
    """Two entries that a finding is about; `likeness` None where it was not asked, `pair` where it was not measured."""

    first: Item
    second: Item
    likeness: float | None = None
    pair: Pair | None = None


@dataclass(frozen=True)
class Finding:
    """Something to look at.

    Attributes:
        kind: patient, equal, alike, doubtful, shared, text, label, class, mask, shift or split.
        leak: whether it makes figures wrong: the same patient on two sides. Else it is for a person to judge.
        text: a sentence.
        items: the entries concerned, where they are no pairs.
        pairs: the entries concerned, two and two.
    """

    kind: str
    leak: bool
    text: str
    items: Sequence[Item] = ()
    pairs: Sequence[Both] = ()


@dataclass(frozen=True)
class Audit:
    """What was audited, and what was found, leaks first."""

    lists: Sequence[AuditedList]
    findings: Sequence[Finding]
    looks: dict[Item, Look] = field(repr=False)

    @property
    def leaks(self) -> list[Finding]:
        """The findings that make figures wrong."""
        return [finding for finding in self.findings if finding.leak]

    def place(self, item: Item) -> str:
        """The split of an entry, with its list's name where there are several."""
        return item.section if len(self.lists) == 1 else f"{item.section} of {self.lists[item.source].name}"


def audit_lists(lists: Sequence[AuditedList]) -> Audit:
    """Read every image once, hold each against each, and look at labels and splits.

    Lists in one folder (folds) are other splits of the same images: each is audited by itself.

    Raises:
        PipelinesError: a file cannot be read.
    """
    seen: dict[tuple[object, ...], Look] = {}
    looks: dict[Item, Look] = {}
    for audited in lists:
        for item in audited.items:
            looks[item] = seen.setdefault((item.image, item.label), seen.get((item.image, item.label)) or look_at(item))
    items = list(looks)
    arrays = [looks[item] for item in items]
    pairs = pairs_of(arrays, [item.source for item in items])
    audit = Audit(lists, [], looks)
    findings = _patients(audit)
    findings += _pairs(audit, items, pairs)
    findings += _labels(items, arrays, pairs)
    for audited in lists:
        findings += [Finding("shift", False, f"{audited.name}: {text}") for text in prior_shift(audited, looks)]
        findings += [Finding("split", False, f"{audited.name}: {text}") for text in _split(audited, looks)]
    return Audit(lists, sorted(findings, key=lambda finding: not finding.leak), looks)


def _patients(audit: Audit) -> list[Finding]:
    """Patients in two splits of a list, and names of patients that several lists have."""
    findings = []
    for audited in audit.lists:
        by_patient: dict[str, dict[str, Item]] = {}
        for item in audited.items:
            if item.patient:
                by_patient.setdefault(item.patient, {}).setdefault(item.section, item)
        for one, other in combinations(SECTIONS, 2):
            torn = [Both(found[one], found[other]) for found in by_patient.values() if {one, other} <= found.keys()]
            if torn:
                text = f"{audited.name}: {_number(len(torn), 'patient')} in {one} and in {other}"
                findings.append(Finding("patient", True, text, pairs=torn))
    for first, second in combinations(audit.lists, 2):
        if _same_folder(first, second) or first.phantom or second.phantom:
            continue
        mine, theirs = ({item.patient: item for item in each.items if item.patient} for each in (first, second))
        both = [Both(mine[name], theirs[name]) for name in sorted(mine.keys() & theirs.keys())]
        if both:
            sure = first.name == second.name or all(each.first.patient.startswith("patient-") for each in both)
            text = f"{_number(len(both), 'patient')} of {first.name} and of {second.name} have the same name"
            text += "" if sure else ": are they the same people?"
            findings.append(Finding("patient", sure, text, pairs=both))
    return findings


def _pairs(audit: Audit, items: Sequence[Item], pairs: Sequence[Pair]) -> list[Finding]:
    """Equal and alike images of no known common patient, by the two splits they stand in."""
    found: dict[tuple[str, str, str], list[Both]] = {}
    order = {section: k for k, section in enumerate(SECTIONS)}
    equal: dict[str, list[Item]] = {}
    for item in items:
        equal.setdefault(audit.looks[item].digest, []).append(item)
    same = [(a, b) for group in equal.values() for a, b in combinations(group, 2)]
    judged = [("equal", Both(a, b, 1.0)) for a, b in same]
    done = {frozenset(each) for each in same}
    for pair in pairs:
        a, b = items[pair.first], items[pair.second]
        if frozenset((a, b)) not in done:
            judged.append(("alike" if pair.alike else "doubtful", Both(a, b, pair.likeness, pair)))
    for kind, both in judged:
        a, b = both.first, both.second
        if a.source != b.source and _same_folder(audit.lists[a.source], audit.lists[b.source]):
            continue
        if (a.source == b.source and a.section == b.section) or (a.patient and a.patient == b.patient):
            continue
        if kind != "equal" and audit.lists[a.source].phantom and audit.lists[b.source].phantom:
            continue  # one program drew them all
        if kind != "doubtful" and a.section == b.section:
            kind = "shared"
        if (b.source, order[b.section]) < (a.source, order[a.section]):
            both = Both(b, a, both.likeness, None if both.pair is None else _swapped(both.pair))
        places = audit.place(both.first), audit.place(both.second)
        found.setdefault((kind, *places), []).append(both)
    words = {
        "equal": "equal images, once in {} and once in {}",
        "alike": "images of {} and of {} are held to be of one patient: copies, or neighbouring slices",
        "doubtful": "images of {} and of {} are less alike, and may be of one patient: look at them",
        "shared": "images are in {} and, equal or alike, in {}: what is measured on both is not independent",
    }
    findings = []
    for (kind, one, other), which in sorted(found.items(), key=lambda each: list(words).index(each[0][0])):
        text = f"{len(which)} pair{'s' if len(which) > 1 else ''}: {words[kind].format(one, other)}"
        ends = [{both.first for both in which}, {both.second for both in which}]
        text += "; " + ", ".join(f"{len(end)} of {_size(audit, next(iter(end)))}" for end in ends)
        findings.append(Finding(kind, kind in ("equal", "alike"), text, pairs=which))
    return findings


def _size(audit: Audit, item: Item) -> str:
    return f"{len(audit.lists[item.source].sections[item.section])} in {audit.place(item)}"


def _labels(items: Sequence[Item], looks: Sequence[Look], pairs: Sequence[Pair]) -> list[Finding]:
    findings = []

    def add(kind: str, suspects: Sequence[Suspect], text: str) -> None:
        if not suspects:
            return
        concerned = [items[suspect.number] for suspect in suspects]
        reasons = [f"{items[s.number].case}: {s.why}" for s in suspects]
        also = [Both(items[s.number], items[s.other], s.weight) for s in suspects if s.other is not None]
        shown = "; ".join(reasons[:5]) + (f"; and {len(reasons) - 5} more" if len(reasons) > 5 else "")
        findings.append(Finding(kind, False, f"{text} ({len(suspects)}): {shown}", concerned, also))

    text = [Suspect(k, "letters seem to be drawn into it", 1.0) for k, look in enumerate(looks) if look.text]
    add("text", text, "images with text: see that it does not say who the patient is")
    add("label", unlike_copies(items, looks, pairs), "images labelled otherwise than their copies")
    for source in sorted({item.source for item in items}):
        own = [k for k, item in enumerate(items) if item.source == source]
        mine, theirs = [items[k] for k in own], [looks[k] for k in own]
        masks = [Suspect(own[s.number], s.why, s.weight) for s in unusual_masks(theirs)]
        add("mask", masks, "masks that stand out")
        denied, said = denied_classes(mine, theirs)
        add("class", [Suspect(own[s.number], s.why, s.weight) for s in denied], f"classes to doubt, as {said}")
        if said and not denied:
            findings.append(Finding("class", False, f"no class is doubtful by the images: {said}"))
    return findings


def _split(audited: AuditedList, looks: dict[Item, Look]) -> list[str]:
    """Sets that are too small, and lesions or classes of which a split has one."""
    split = {
        section: [f"{k}" for k, item in enumerate(audited.items) if item.section == section] for section in SECTIONS
    }
    cases = []
    for k, item in enumerate(audited.items):
        shape = looks[item].shape
        group = audited.names.get(item.label, str(item.label)) if isinstance(item.label, int) else ""
        cases.append(SplitCase(f"{k}", item.patient or f"{k}", shape.share if shape else 0.0, group=group))
    kind = "volume" if Counter(len(looks[item].whole) > 1 for item in audited.items)[True] else "picture"
    warnings = [f"the {section} set is empty" for section in SECTIONS if not split[section]]
    return warnings + split_warnings(split, cases, kind)


def _swapped(pair: Pair) -> Pair:
    quarter, mirrored = pair.turn
    turn = (quarter if mirrored else -quarter % 4, mirrored)
    return replace(pair, first=pair.second, second=pair.first, planes=pair.planes[::-1], turn=turn)


def _same_folder(one: AuditedList, other: AuditedList) -> bool:
    return one.path.resolve().parent == other.path.resolve().parent


def _number(number: int, word: str) -> str:
    return f"1 {word} is" if number == 1 else f"{number} {word}s are"
