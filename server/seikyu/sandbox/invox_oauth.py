"""invox's authorization server.

Source: invox API 1.0.3, authentication, read 2026-11-21. Rotation of refresh tokens is not mentioned there;
the twin rotates by default, because a client that survives that survives the other way too.
"""

from typing import Final

from seikyu.sandbox.authorization import Registration

CLIENT_ID: Final = "sandbox-invox-client"
CLIENT_SECRET: Final = "sandbox-invox-secret"  # noqa: S105 - made up, opens nothing but this twin
REDIRECT_URI: Final = "http://127.0.0.1:8721/oauth/callback"
ACCESS_TOKEN_LIFE_S: Final = 36_000

INVOX_CLIENT: Final = Registration(
    realm="invox",
    client_id=CLIENT_ID,
    client_secret=CLIENT_SECRET,
    redirect_uris=(REDIRECT_URI,),
    scopes=("read", "write"),
    code_life_s=60,
    access_token_life_s=ACCESS_TOKEN_LIFE_S,
    token_ways=("basic_and_id",),
)
