"""What is looked for: each rule with its level, what it finds, and the way out. docs/reference/audit-rules.md is made
of this table."""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"
LEVELS = (ERROR, WARNING, NOTE)
ZOO, LABEL = "zoo", "label"  # rules of these are asked for by `--for`


@dataclass(frozen=True)
class Rule:
    """A kind of fault.

    Attributes:
        id: its name, which stays.
        level: "error", "warning" or "note".
        what: what it finds, as a clause.
        how: the way out, as an imperative clause.
        purpose: "" if it holds for every bundle; else for what a bundle is to be ready ("zoo", "label").
    """

    id: str
    level: str
    what: str
    how: str
    purpose: str = ""

    @property
    def group(self) -> str:
        """The chapter that it stands in."""
        return _GROUPS[self.id]


_TABLE: dict[str, tuple[Rule, ...]] = {
    "Reading": (
        Rule("metadata-missing", ERROR, "there is no configs/metadata.json, or no object in it", "write one"),
        Rule("config-unreadable", ERROR, "a config cannot be read", "mend its syntax, or take the file out"),
        Rule("yaml-tag", ERROR, "a YAML tag asks for a Python object", "write plain values"),
        Rule("duplicate-key", WARNING, "a key is written twice: the later one wins in silence", "take one out"),
    ),
    "References": (
        Rule("undefined-id", ERROR, "an id is referred to and defined nowhere", "define it, or mend its name"),
        Rule(
            "macro-of-a-file", WARNING, "a macro reads another file, which MONAI looks for where it was started",
            "write the values into this config",
        ),
    ),
    "Drift": (
        Rule("network-drift", ERROR, "training and inference have different networks", "make network_def the same"),
        Rule(
            "preprocessing-drift", ERROR, "training and inference prepare an image in different ways",
            "make the deterministic transforms the same",
        ),
        Rule(
            "inferer-drift", WARNING, "validation and inference infer in different ways",
            "make the inferers the same",
        ),
        Rule(
            "postprocessing-drift", WARNING, "validation and inference make an answer of the output in different ways",
            "make the activation and the threshold the same",
        ),
        Rule(
            "label-drift", ERROR, "labels are not the same in training, inference and metadata",
            "write the same values and names everywhere",
        ),
        Rule(
            "channel-drift", ERROR, "the network's channels are not those of the metadata",
            "mend network_def or network_data_format",
        ),
    ),
    "Metrics": (
        Rule(
            "undefined-metric", ERROR, "a metric is asked for by a name that no config defines",
            "define it as a key or additional metric, or mend the name",
        ),
        Rule(
            "key-metric-missing", ERROR, "the best weights are to be kept by a key metric, and there is none",
            "give the evaluator key_val_metric",
        ),
    ),
    "Paths": (
        Rule("absolute-path", WARNING, "a path begins at the root", "begin it with $@bundle_root + '/…'"),
        Rule("personal-path", ERROR, "a path names a person's folder", "write it relative, or take it out"),
        Rule("linked-outside", ERROR, "a link leads out of the bundle", "put the file itself there"),
    ),
    "Licences": (
        Rule("licence-missing", ERROR, "there is no LICENSE", "put the licence's text there"),
        Rule("licence-differs", WARNING, "metadata and LICENSE name different licences", "make them the same"),
        Rule(
            "data-licence-missing", WARNING, "weights are shipped, and nothing says under which licence the data were",
            "write docs/data_license.txt",
        ),
    ),
    "Code": (
        Rule("expression-syntax", ERROR, "an expression is no Python expression", "mend it"),
        Rule("expression-name", ERROR, "an expression uses a name that nothing imports", "import it, or mend its name"),
        Rule(
            "expression-danger", ERROR, "an expression uses what is outside the allow-list",
            "do without it, or allow its module with --allow",
        ),
        Rule(
            "dunder-access", ERROR, "an expression reaches into Python's inside by a name with two underscores",
            "do without it",
        ),
        Rule("import-outside", ERROR, "a module outside the allow-list is imported", "do without it, or --allow it"),
        Rule(
            "target-outside", ERROR, "a _target_ is outside the allow-list",
            "take another, or allow its module with --allow",
        ),
        Rule("target-computed", ERROR, "a _target_ is known only when it is evaluated", "write the name itself"),
        Rule(
            "logging-config", ERROR, "a logging config has what is evaluated as code",
            "use classes of logging with literal arguments",
        ),
        Rule(
            "own-code-danger", ERROR, "the bundle's own code starts programs, unpickles, or runs text as code",
            "do without it",
        ),
        Rule(
            "own-code", NOTE, "the bundle brings code of its own, which runs when it is opened",
            "read it before you run it",
        ),
        Rule("binary-code", ERROR, "the bundle brings compiled code, which cannot be read", "ship the source"),
    ),
    "Weights": (
        Rule(
            "pickle-danger", ERROR, "a pickle holds more than tensors: loading it can run code",
            "ask its author for .safetensors, or save the state dict alone",
        ),
        Rule("weights-unreadable", ERROR, "a file of weights is not what its name says", "fetch it again"),
    ),
    "Hashes": (
        Rule("hash-differs", ERROR, "a file's hash is not the one that is stated", "fetch the file again"),
        Rule("hash-missing", WARNING, "a file to be fetched has no hash", "write hash_val with hash_type sha256"),
        Rule("hash-weak", WARNING, "a file's hash is one that can be forged (md5, sha1)", "state its SHA-256"),
        Rule(
            "fetched-outside", ERROR, "a file to be fetched would be written outside the bundle",
            "name a place in it",
        ),
        Rule("fetched-openly", WARNING, "a file is fetched without encryption", "give an https address"),
        Rule(
            "manifest-differs", ERROR, "the bundle's files are not those of its manifest",
            "fetch the bundle again, or write the manifest again with --write-manifest",
        ),
        Rule(
            "signature-wrong", ERROR, "the manifest is not signed by this key",
            "ask the sender for the bundle or the key",
        ),
    ),
    "Versions": (
        Rule(
            "version-runs-code", ERROR, "a version is asked for in which a file or an input can run code",
            "raise it, and try the bundle with it",
        ),
        Rule(
            "version-with-hole", WARNING, "a version is asked for that has a known hole",
            "raise it, and try the bundle with it",
        ),
    ),
    "Model zoo": (
        Rule("zoo-files", ERROR, "the zoo asks for a file that is missing", "add it", ZOO),
        Rule("zoo-large-file", ERROR, "the zoo takes no file above 25 MB", "name it in large_files.yml", ZOO),
        Rule("zoo-metadata", ERROR, "the metadata do not follow the zoo's schema", "mend configs/metadata.json", ZOO),
        Rule("zoo-version", ERROR, "the version is not in the changelog", "add it to changelog", ZOO),
        Rule("zoo-ids", ERROR, "a config lacks an id that the zoo names", "add it", ZOO),
        Rule("zoo-packages", ERROR, "a version cannot be installed as it is written", "write an exact version", ZOO),
    ),
    "MONAI Label": (
        Rule("label-config", ERROR, "MONAI Label reads no config, or not the ids that it needs", "add them", LABEL),
        Rule("label-weights", ERROR, "MONAI Label finds no weights", "put models/model.pt or model.ts there", LABEL),
        Rule(
            "label-labels", ERROR, "MONAI Label cannot tell what is predicted",
            "write channel_def of the first output", LABEL,
        ),
    ),
}  # fmt: skip

RULES: dict[str, Rule] = {rule.id: rule for rules in _TABLE.values() for rule in rules}
_GROUPS = {rule.id: group for group, rules in _TABLE.items() for rule in rules}


def rules_table() -> str:
    """The rules as a page of Markdown has them, in chapters."""
    lines: list[str] = []
    for group, rules in _TABLE.items():
        lines += [f"## {group}", "", "| rule | level | finds | way out |", "|---|---|---|---|"]
        lines += [f"| `{rule.id}` | {rule.level} | {rule.what} | {rule.how} |" for rule in rules] + [""]
    return "\n".join(lines)
