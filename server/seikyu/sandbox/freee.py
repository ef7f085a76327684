"""The twin of freee, as far as a login needs it: OAuth, and the list of companies.

Source: freee Developers Community, "認可コード" and "アクセストークンの有効期限", and the schema of the accounting API,
read 2026-11-21. A refresh token is good for one use; that a second use ends the login is assumed, being the worst.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from seikyu.sandbox.authorization import OUT_OF_BAND, AuthorizationServer, Registration
from seikyu.sandbox.clock import Clock
from seikyu.sandbox.wire import Answer, Call, Json, Route, html_answer, json_answer

CLIENT_ID: Final = "sandbox-freee-client"
CLIENT_SECRET: Final = "sandbox-freee-secret"  # noqa: S105 - made up, opens nothing but this twin
REDIRECT_URI: Final = "http://127.0.0.1:8722/callback"
COMPANY: Final = "1234567"
OTHER_COMPANY: Final = "7654321"
COMPANIES: Final[Mapping[str, str]] = {COMPANY: "株式会社サンプル", OTHER_COMPANY: "別会社サンプル"}

FREEE_CLIENT: Final = Registration(
    realm="freee",
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    redirect_uris=(REDIRECT_URI, OUT_OF_BAND),
    scopes=("read", "write"),
    code_life_s=600,
    access_token_life_s=21_600,
    token_ways=("form",),
    takes_pkce=True,
    company=COMPANY,
    reuse_status=401,
)


@dataclass(slots=True)
class FreeeTwin:
    """`oauth.company` is what the next person chooses; they belong to all `companies`."""

    clock: Clock
    base_url: str = ""
    prefix: str = "/freee"
    body_limit_bytes: int = 1_000_000
    companies: dict[str, str] = field(default_factory=lambda: dict(COMPANIES))
    oauth: AuthorizationServer = field(init=False)
    routes: Sequence[Route] = field(init=False)

    def __post_init__(self) -> None:
        self.oauth = AuthorizationServer(self.clock, FREEE_CLIENT)
        ways: list[tuple[str, str, str, Callable[[Call], Answer]]] = [
            ("GET", "/public_api/authorize", "authorize", self.oauth.authorize),
            ("POST", "/public_api/token", "token", self.oauth.token),
            ("POST", "/public_api/revoke", "revoke", self.oauth.revoke),
            ("GET", "/api/1/companies", "list_companies", self._companies),
        ]
        self.routes = [
            Route(method, f"{self.prefix}{path}", f"freee.{name}", handle) for method, path, name, handle in ways
        ]

    def reset(self) -> None:
        """Forget tokens; the settings stay."""
        self.oauth.forget()

    def failure(self, status: int, call: Call) -> Answer:
        if status >= 500:  # noqa: PLR2004 - from here on it is the server's own fault
            return html_answer(status, f"{status} Service trouble")
        said: Json = {"status_code": status, "errors": [{"type": "status", "messages": [f"{call.method} refused"]}]}
        return json_answer(status, said)

    def _companies(self, call: Call) -> Answer:
        if not self.oauth.opens(call):
            said: Json = {"message": "アクセストークンが正しくありません。", "code": "expired_access_token"}
            return json_answer(401, said)
        return json_answer(200, {"companies": [_company(number, name) for number, name in self.companies.items()]})


def _company(number: str, name: str) -> Json:
    return {
        "id": int(number),
        "name": name,
        "name_kana": None,
        "display_name": name,
        "company_number": number.zfill(10),
        "role": "admin",
    }
