"""Looks for every secret of a run in everything the run showed, plain, encoded and in part."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from canary.diary import SECRETS, SHOWN

FILES: Final = "files"
"""Beside what was shown: the folders the tests worked in, databases and all."""
_VARIED: Final = 6
"""Different bytes. What has fewer is a test's own constant, and stands in innocent numbers too."""
_COUNTED: Final = (
    bytes(range(2, 16)),
    bytes(range(2, 16)).hex().encode(),
    base64.b64encode(bytes(range(3, 15))).lower(),
)
"""A key that a test counted out, and has programs of its own print."""
_PART: Final = 20
"""Bytes: so much of the beginning or the end of a long secret is a secret too."""
_TOKEN: Final = re.compile(rb"[0-9A-Za-z._~+/=-]+")
_ADDRESS: Final = re.compile(rb"postgres(ql)?://([^:@/]*@)?[^:@]*", re.DOTALL)
"""A database's address without a password is no secret."""
_MOMENT: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@dataclass(frozen=True, slots=True)
class Hit:
    """A secret that somebody could read."""

    place: str
    form: str
    """How it was written: `plain`, `base64`, …"""
    secret: bytes
    """Its beginning, to find the test that made it."""


def secrets_of(folder: Path) -> frozenset[bytes]:
    found: set[bytes] = set()
    for path in (folder / SECRETS).iterdir():
        found.update(base64.b64decode(line) for line in path.read_bytes().splitlines() if line)
    return frozenset(secret for secret in found if not _is_nobodys(secret))


def _is_nobodys(secret: bytes) -> bool:
    """Until when a former secret is good is sealed beside it, and is none."""
    is_constant = len(set(secret)) < _VARIED or any(part in secret.lower() for part in _COUNTED)
    return is_constant or any(form.fullmatch(secret) for form in (_ADDRESS, _MOMENT))


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """The ways in which `secret` could be written down."""
    yield "plain", secret
    yield "hex", secret.hex().encode()
    yield "HEX", secret.hex().upper().encode()
    yield "percent", quote(secret, safe="").encode()
    yield "escaped", repr(secret)[2:-1].encode()
    yield "utf-16", secret.decode("latin-1").encode("utf-16-le")
    for offset in range(3):
        inner = base64.b64encode(b"\0" * offset + secret)[(0, 2, 3)[offset] :].rstrip(b"=")
        whole = inner if (offset + len(secret)) % 3 == 0 else inner[:-1]
        yield "base64", whole
        yield "base64url", whole.translate(bytes.maketrans(b"+/", b"-_"))
    if len(secret) >= 2 * _PART and _TOKEN.fullmatch(secret):
        yield "its beginning", secret[:_PART]
        yield "its end", secret[-_PART:]


def needles(secrets: Iterable[bytes]) -> dict[bytes, tuple[str, bytes]]:
    """What to look for, one line each; a form with a line break inside is looked for by its longest line."""
    wanted: dict[bytes, tuple[str, bytes]] = {}
    for secret in secrets:
        for form, written in forms(secret):
            line = max(written.split(b"\n"), key=len)
            if len(line) >= 10 and b"\0\0" not in line:
                wanted.setdefault(line, (form, secret))
    return wanted


def hits(folder: Path) -> list[Hit]:
    """Every place below `shown` and `files` where a secret stands."""
    wanted = needles(secrets_of(folder))
    patterns = folder / "needles"
    patterns.write_bytes(b"\n".join(wanted) + b"\n")
    places = [part for part in (SHOWN, FILES) if (folder / part).exists()]
    looked = subprocess.run(
        ["grep", "--text", "--recursive", "--only-matching", "--null", "--fixed-strings", "--file", "needles", *places],
        cwd=folder,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    if looked.returncode > 1:
        raise SystemExit(looked.stderr.decode(errors="replace"))
    return sorted({_hit(line, wanted) for line in looked.stdout.split(b"\n") if b"\0" in line}, key=str)


def _hit(line: bytes, wanted: dict[bytes, tuple[str, bytes]]) -> Hit:
    place, _, found = line.partition(b"\0")
    form, secret = wanted[found]
    return Hit(place.decode(errors="replace"), form, secret[:24])
