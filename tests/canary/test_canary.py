import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from canary.allowed import is_allowed
from canary.diary import SECRETS, SHOWN, VARIABLE
from canary.plugin import HOOK
from canary.scan import FILES, Hit, hits, secrets_of

SECRET = "canary-5f2a8c7e9b1d4630-of-twelve-yellow-birds+/="

LEAKS = {
    "output": "print('found', secret)",
    "stderr": "import os; os.write(2, secret.encode())",
    "debug log": "import logging; logging.getLogger('room').debug('token %s', secret)",
    "log that a process sets up itself": "import logging; logging.basicConfig(); logging.warning(secret)",
    "arguments": "import subprocess, sys; subprocess.run([sys.executable, '-c', '', secret])",
    "file": "open('kept.db', 'wb').write(b'SQLite format 3' + secret.encode() + bytes(9))",
    "base64": "import base64; print(base64.b64encode(b'xy' + secret.encode() + b'z').decode())",
    "base64url": "import base64; print(base64.urlsafe_b64encode(b'x' + secret.encode()).decode())",
    "hex": "print(secret.encode().hex())",
    "percent": "import urllib.parse; print('https://x/?t=' + urllib.parse.quote(secret, safe=''))",
    "beginning": "print(secret[:24] + '…')",
    "end": "print('…' + secret[-24:])",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_secret_that_a_process_shows_is_found(tmp_path: Path, leak: str) -> None:
    found = _after(
        f"import pydantic; secret = pydantic.SecretStr({SECRET!r}).get_secret_value(); {LEAKS[leak]}", tmp_path
    )

    assert found


def test_a_secret_that_is_kept_is_not_found(tmp_path: Path) -> None:
    found = _after(f"import pydantic; print(repr(pydantic.SecretStr({SECRET!r})))", tmp_path)

    assert not found


@pytest.mark.parametrize(
    "shown, is_fine",
    [
        ("42.output: Open https://example.com/authorize?client_id=us&state=SECRET", True),
        ("42.output: Open https://example.com/authorize?x&state=SECRET and keep SECRET", False),
        ("42.output: the answer to SECRET", False),
        ("42.log: HTTP Request: GET http://127.0.0.1:1/callback?code=SECRET", True),
        ("42.log: HTTP Request: GET http://127.0.0.1:1/callback?code=SECRET\nDEBUG the code is SECRET", False),
        ("42.log: HTTP Request: POST http://127.0.0.1:1/token?code=SECRET", False),
        ("42.rows: x&state=SECRET", False),
    ],
)
def test_what_a_browser_carries_may_stand_in_the_addresses_it_opens(
    tmp_path: Path, *, shown: str, is_fine: bool
) -> None:
    name, text = shown.split(": ", 1)
    (tmp_path / SHOWN).mkdir()
    (tmp_path / SHOWN / name).write_text(text.replace("SECRET", SECRET))

    assert is_allowed(Hit(f"{SHOWN}/{name}", "plain", SECRET.encode()[:24]), tmp_path) is is_fine


def test_a_test_s_own_constant_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / SECRETS).mkdir()
    values = [bytes(range(32)), bytes(range(32)).hex().upper().encode(), b"k" * 32, b"a" * 16 + SECRET.encode()]
    (tmp_path / SECRETS / "1.values").write_bytes(b"\n".join(map(base64.b64encode, values)))

    assert secrets_of(tmp_path) == {values[-1]}


def _after(program: str, folder: Path) -> bool:
    """Whether anything is found once `program` ran in a watched process."""
    for part in (SECRETS, SHOWN, FILES):
        (folder / part).mkdir()
    paths = [str(HOOK), str(HOOK.parent.parent), *sys.path]
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder / FILES,
        env=os.environ | {VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert list((folder / SECRETS).iterdir()), "the process kept no diary"
    return bool(hits(folder))
