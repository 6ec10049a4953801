"""What has failed often enough not to be tried again."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from fusion_automl.candidate import Candidate
from fusion_automl.search.ledger import Trial

MAX_OF_FAMILY = 2
"""So many failures of one kind condemn a family, unless it succeeded as often."""
MAX_FAMILIES = 2
"""So many families that failed alike condemn a part, if it is all that they have in common and never succeeded."""

Parts = frozenset[str]


class Failures:
    """Counts failures by family (all names in a candidate) and by part (one name), apart for each kind of reason."""

    def __init__(self) -> None:
        self._failed: dict[str, Counter[str]] = defaultdict(Counter)
        self._succeeded: Counter[str] = Counter()
        self._sound: set[str] = set()
        self._broken: dict[str, set[Parts]] = defaultdict(set)

    def learn(self, trial: Trial) -> None:
        family, parts = trial.candidate.describe(), _parts(trial.candidate)
        if trial.report.status in ("failed", "out_of_time"):
            kind = f"{trial.report.status}: {_kind(trial.report.reason)}"
            self._failed[family][kind] += 1
            self._broken[kind].add(parts)
        else:
            self._succeeded[family] += 1
            self._sound |= parts

    def condemned(self, candidate: Candidate) -> bool:
        """Whether trying this candidate would most likely be for nothing."""
        family = candidate.describe()
        failures = max(self._failed[family].values()) if family in self._failed else 0
        if failures >= MAX_OF_FAMILY and failures > self._succeeded[family]:
            return True
        return any(self._to_blame(part) for part in _parts(candidate) - self._sound)

    def _to_blame(self, part: str) -> bool:
        for families in self._broken.values():
            its = [parts for parts in families if part in parts]
            if len(its) >= MAX_FAMILIES and frozenset.intersection(*its) - self._sound == {part}:
                return True
        return False


def _parts(candidate: Candidate) -> Parts:
    """Names with their tables, since a table's names may stand in another one too."""
    return frozenset(
        [f"encoder {name}" for name in candidate.all_encoders()]
        + [f"backbone {name}" for name in candidate.all_backbones()]
        + [f"classical {name}" for name in candidate.all_classical()]
    )


def _kind(reason: str) -> str:
    """A reason without what differs from one candidate to the next: numbers, and names in quotes."""
    return re.sub(r"'[^']*'|[\d.]+", "#", reason)[:80]
