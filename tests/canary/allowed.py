"""Where a secret may stand: the places that are there to hold it, and what tests put down themselves."""

from __future__ import annotations

import re
from typing import Final

from canary.scan import Hit

ALLOWED: Final = (
    (r"files/.*/master\.key", b"", "the key file, mode 0600: the one place of the master key"),
    (r"files/.*/\.env", b"", "the settings of the installation, written by the operator"),
    (r"shown/\d+\.(output|captured)", b"demo: hanko wa hito", "the demo tells its visitor the passphrase it made up"),
)
"""Where, the beginning of which secret, and why."""


def is_allowed(hit: Hit) -> bool:
    return any(re.fullmatch(place, hit.place) and hit.secret.startswith(begins) for place, begins, _ in ALLOWED)
