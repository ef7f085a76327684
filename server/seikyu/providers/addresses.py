"""Where a request goes: base addresses from the configuration, paths from the operation tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from seikyu.errors import ConfigurationError, InvalidArguments, Text
from seikyu.models import shown

_PARAMETER: Final = re.compile(r"[0-9A-Za-z_\-]{1,64}", re.ASCII)
_PARAMETER_WITH_SLASH: Final = re.compile(r"[0-9A-Za-z_\-]{1,64}/[0-9A-Za-z_\-]{1,64}", re.ASCII)
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
_BASE_PATH: Final = re.compile(r"(/[0-9A-Za-z_\-.~]+)*/?", re.ASCII)


def build_url(
    base_url: str, path: str, parameters: Mapping[str, str], *, may_have_slash: frozenset[str] = frozenset()
) -> str:
    """The address of an operation: `path` under `base_url`, its `{name}` parts filled from `parameters`.

    A parameter is 1 to 64 letters, digits, `_` and `-`, so that nothing can leave its place in the path.
    Those in `may_have_slash` may be two such words joined by one slash, as MFK's ids of issued documents are.

    Raises:
        InvalidArguments: a parameter is missing, not named in the path, or not of this shape.
        ConfigurationError: the base address is not one we send money to.
    """
    root = checked_base_url(base_url)
    names = _PLACEHOLDER.findall(path)
    strangers = sorted(set(names) ^ set(parameters))
    if strangers:
        raise _bad_parameter(strangers[0], parameters.get(strangers[0], ""))
    filled = path
    for name in names:
        filled = filled.replace(f"{{{name}}}", _safe(name, parameters[name], has_slash=name in may_have_slash))
    return root + filled


def checked_base_url(base_url: str) -> str:
    """`base_url` without a trailing slash.

    Raises:
        ConfigurationError: not https (http is for this machine only), or it has a user, a query,
            a fragment or `..`.
    """
    try:
        parts = urlsplit(base_url)
        is_fit = _is_fit(parts)
    except ValueError:  # urlsplit refuses some ports and brackets
        is_fit = False
    if not is_fit:
        raise ConfigurationError(
            Text(
                f"接続先アドレス「{shown(base_url, 120)}」は使えません。",
                f'The base address "{shown(base_url, 120)}" cannot be used.',
            ),
            Text(
                "connections.toml の base_url を https:// で始まるアドレスにしてください"
                "（http:// はこのマシン自身だけです）。",
                "Set base_url in connections.toml to an address that starts with https://"
                " (http:// is for this machine itself only).",
            ),
        )
    return base_url.rstrip("/")


def host_of(url: str) -> str:
    """Host and port, to name a peer in a message."""
    return urlsplit(url).netloc


def _is_fit(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    is_private = parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))
    is_plain = "@" not in parts.netloc and not parts.query and not parts.fragment and host.isascii()
    has_real_port = parts.port != 0  # reading it raises ValueError beyond 65535
    is_path = _BASE_PATH.fullmatch(parts.path) is not None and not {".", ".."} & set(parts.path.split("/"))
    return bool(host) and is_private and is_plain and has_real_port and is_path


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _safe(name: str, value: str, *, has_slash: bool) -> str:
    if _PARAMETER.fullmatch(value) or (has_slash and _PARAMETER_WITH_SLASH.fullmatch(value)):
        return value
    raise _bad_parameter(name, value)


def _bad_parameter(name: str, value: str) -> InvalidArguments:
    return InvalidArguments(
        Text(
            f"{name}「{shown(value, 70)}」はIDの形ではありません。",
            f'{name} "{shown(value, 70)}" does not have the shape of an id.',
        ),
        Text(
            "一覧ツールが返したIDをそのまま渡してください。",
            "Pass the id exactly as a list tool returned it.",
        ),
    )
