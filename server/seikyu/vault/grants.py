"""What a token endpoint answered, as values. Secrets are `SecretStr`, so that no repr ever shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pydantic import SecretStr

from seikyu.errors import Text


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """The provider issued a token: the only answer that may replace a stored one."""

    access_token: SecretStr
    expires_in_s: int
    """Seconds from the answer, more than 0; as documented where the provider did not say."""
    refresh_token: SecretStr | None = None
    """None: the provider sent none; the stored one stays in force."""
    scope: str | None = None
    """As granted, words parted by spaces; None when the provider did not say."""
    company: str | None = None
    """The provider's id of the company the token is for; None when the provider did not say."""


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """The provider said no in OAuth's own format; the stored token is untouched."""

    code: str
    """`invalid_grant` and its kin. Source: RFC 6749, 5.2."""


@dataclass(frozen=True, slots=True)
class TokenUnknown:
    """No trustworthy answer; the stored token is untouched."""

    reason: Text
    was_sent: bool
    """True: a rotating provider may have used up the refresh token."""
    is_put_off: bool = False
    """Something answered, and not about the grant: a page, a redirect, a server in trouble or with too much to do."""


TokenResult: TypeAlias = TokenAnswer | TokenRefused | TokenUnknown
