"""The twin of Misoca, as far as a login needs it: OAuth, and the user themselves.

Source: Misoca API v3, its Swagger document and the page on applications, read 2026-11-21. Rotation of refresh tokens
is not mentioned there; the twin rotates, because a client that survives that survives the other way too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from seikyu.sandbox.authorization import AuthorizationServer, Registration
from seikyu.sandbox.clock import Clock
from seikyu.sandbox.wire import Answer, Call, Route, html_answer, json_answer

CLIENT_ID: Final = "sandbox-misoca-client"
CLIENT_SECRET: Final = "sandbox-misoca-secret"  # noqa: S105 - made up, opens nothing but this twin
REDIRECT_URI: Final = "http://127.0.0.1:8723/callback"
USER_ID: Final = 4501
EMAIL: Final = "keiri@example.co.jp"

MISOCA_CLIENT: Final = Registration(
    realm="misoca",
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    redirect_uris=(REDIRECT_URI,),
    scopes=("read", "write"),
    code_life_s=600,
    access_token_life_s=86_400,
    token_ways=("basic", "form"),
    revoke_way="basic",
)


@dataclass(slots=True)
class MisocaTwin:
    """`user_id` and `email` are whose account the next person consents for."""

    clock: Clock
    base_url: str = ""
    prefix: str = "/misoca"
    body_limit_bytes: int = 1_000_000
    user_id: int = USER_ID
    email: str = EMAIL
    oauth: AuthorizationServer = field(init=False)
    routes: Sequence[Route] = field(init=False)

    def __post_init__(self) -> None:
        self.oauth = AuthorizationServer(self.clock, MISOCA_CLIENT)
        ways: list[tuple[str, str, str, Callable[[Call], Answer]]] = [
            ("GET", "/oauth2/authorize", "authorize", self.oauth.authorize),
            ("POST", "/oauth2/token", "token", self.oauth.token),
            # not documented; here for whoever writes `revoke_url` into the configuration
            ("POST", "/oauth2/revoke", "revoke", self.oauth.revoke),
            ("GET", "/api/v3/user/me", "get_user_me", self._user),
        ]
        self.routes = [
            Route(method, f"{self.prefix}{path}", f"misoca.{name}", handle) for method, path, name, handle in ways
        ]

    def reset(self) -> None:
        """Forget tokens; the settings stay."""
        self.oauth.forget()

    def failure(self, status: int, call: Call) -> Answer:
        if status >= 500:  # noqa: PLR2004 - from here on it is the server's own fault
            return html_answer(status, f"{status} Service trouble")
        return json_answer(status, {"reasons": [f"{call.method} refused"]})

    def _user(self, call: Call) -> Answer:
        if not self.oauth.opens(call):
            return json_answer(401, {"reasons": ["access token is missing, unknown or expired"]})
        return json_answer(200, {"id": self.user_id, "email": self.email})
