"""What an audit found: a rule, where, and in which words."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.auditing.rules import LEVELS, RULES, Rule


@dataclass(frozen=True)
class Finding:
    """A fault that was found.

    Attributes:
        rule: the id of its rule.
        file: below the bundle's folder, with slashes; "" for the folder itself.
        line: from 1; 0 where there is none.
        what: the fault, as a clause without a full stop.
        how: the way out; "" for that of the rule.
    """

    rule: str
    file: str
    line: int
    what: str
    how: str = ""

    @property
    def about(self) -> Rule:
        """Its rule."""
        return RULES[self.rule]

    @property
    def level(self) -> str:
        """ "error", "warning" or "note"."""
        return self.about.level

    @property
    def way_out(self) -> str:
        """What to do, as an imperative clause."""
        return self.how or self.about.how


def in_order(findings: list[Finding]) -> list[Finding]:
    """Each once, the worst first, then by file and line."""
    return sorted(
        set(findings), key=lambda each: (LEVELS.index(each.level), each.file, each.line, each.rule, each.what)
    )
