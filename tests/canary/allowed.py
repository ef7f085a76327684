"""Where a secret may stand: the places that are there to hold it, and what tests put down themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from canary.scan import Hit

ALLOWED: Final = (
    (r"files/.*/master\.key", b"", "the key file, mode 0600: the one place of the master key"),
    (r"files/.*/\.master\.key\.[0-9a-f]+", b"", "the key file while it is written"),
    (r"files/.*/\.env", b"", "the settings of the installation, written by the operator"),
    (r"files/.*/server/seikyu/.*\.py", b"", "our own source, copied by a test: what stands there is no secret"),
    (r"shown/\d+\.(output|captured)", b"demo: hanko wa hito", "the demo tells its visitor the passphrase it made up"),
)
"""Where, the beginning of which secret, and why."""

_STATE: Final = b"&state="
_BROWSERS: Final = re.compile(rb"HTTP Request: GET \S+[?&](code|state)=|b'location', b'\S+[?&](code|state)=")
"""What the browser of the person logs, who is played by a test. Seikyu itself asks for no such address."""


def is_allowed(hit: Hit, folder: Path) -> bool:
    named = any(re.fullmatch(place, hit.place) and hit.secret.startswith(begins) for place, begins, _ in ALLOWED)
    return named or _is_state(hit, folder) or _is_browsers(hit, folder)


def _is_state(hit: Hit, folder: Path) -> bool:
    """The state of a login stands in the address a person opens, and there only: the browser has to bring it back."""
    if not re.fullmatch(r"shown/\d+\.(output|captured)", hit.place) or hit.form != "plain":
        return False
    before, *after = (folder / hit.place).read_bytes().split(hit.secret)
    return all(text.endswith(_STATE) for text in (before, *after[:-1]))


def _is_browsers(hit: Hit, folder: Path) -> bool:
    if not re.fullmatch(r"shown/\d+\.(log|captured)", hit.place) or hit.form != "plain":
        return False
    lines = [line for line in (folder / hit.place).read_bytes().splitlines() if hit.secret in line]
    return all(_BROWSERS.search(line) for line in lines)
