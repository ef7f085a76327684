"""invox's limits, checked before anything is proposed, and the addresses of its two roots.

Source unless said otherwise: invox API 1.0.3 reference, read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from seikyu.errors import ConfigurationError, InvalidArguments, Text
from seikyu.models import exact_decimal, misfit, shown
from seikyu.providers.bodies import length_with_document
from seikyu.spec import Connection

MAX_REQUEST_BYTES: Final = 50_000_000
"""Whole request with its document: "50 MB". MB or MiB is not said; the smaller is assumed."""
MAX_FILE_NAME: Final = 250
"""Code points; counting them rather than bytes is assumed."""
MAX_COMPANY_CODE: Final = 30
"""Characters. Source: documentation of a public client, not invox's own."""
MAX_LINE: Final = 250
"""Characters of a name; invox cuts the rest off without a word."""
MAX_VOUCHER_NUMBER: Final = 30
"""Characters; invox cuts the rest off without a word."""
MAX_DIGITS: Final = 15
"""Of an amount, decimals included; invox ignores a longer one without a word."""
MAX_DECIMALS: Final = 3
MAX_TAGS: Final = 20
"""Our own limit; invox names none."""
DOCUMENT_FIELD: Final = "e_storage.file_content"

_API_PATH: Final = "/api/public"
_REGISTRATION_NUMBER: Final = re.compile(r"T[1-9][0-9]{12}", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_EXTENSION: Final = re.compile(r".+\.[0-9A-Za-z]{1,10}", re.ASCII | re.DOTALL)


def api_root(base_url: str) -> str:
    """Where operations live. `base_url` may name the API itself or what the API and OAuth stand under."""
    return oauth_root(base_url) + _API_PATH


def oauth_root(base_url: str) -> str:
    """What `/oauth2/…` stands under: beside `/api/public`, not below it."""
    return base_url.rstrip("/").removesuffix(_API_PATH)


def company_code(connection: Connection) -> str:
    """企業ID, which every request carries: the option `company_code`, or else the connection's company.

    Raises:
        ConfigurationError: it is empty, or longer than invox's ids are.
    """
    code = connection.options.get("company_code") or connection.company
    if code.strip() and len(code) <= MAX_COMPANY_CODE:
        return code
    raise ConfigurationError(
        Text(
            f"接続「{connection.name}」の企業ID(company_code)がないか、長すぎます。",
            f'The connection "{connection.name}" has no company_code (企業ID), or it is too long.',
        ),
        Text(
            "invoxの「設定 > 会社」に表示される企業IDを connections.toml に書いてください。",
            "Write the id that invox shows under 設定 > 会社 into connections.toml.",
        ),
    )


def checked_file_name(name: str) -> str:
    """`name`, which invox keeps and whose extension decides the kind of the document.

    Raises:
        InvalidArguments: longer than 250 code points, or without an extension.
    """
    if len(name) <= MAX_FILE_NAME and _EXTENSION.fullmatch(name):
        return name
    raise InvalidArguments(
        Text(
            f"ファイル名「{shown(name, 60)}」は使えません。",
            f'The file name "{shown(name, 60)}" cannot be used.',
        ),
        Text(
            f"拡張子つき、{MAX_FILE_NAME}文字以内の名前に変えてください。",
            f"Rename the file: at most {MAX_FILE_NAME} characters, with an extension.",
        ),
    )


def check_request_size(body: Mapping[str, Any], document_size: int) -> None:
    """Compute the exact length of the request, base64 included.

    Raises:
        InvalidArguments: more than 50,000,000 bytes; base64 makes a document a third larger.
    """
    length = length_with_document(body, DOCUMENT_FIELD, document_size)
    if length <= MAX_REQUEST_BYTES:
        return
    raise InvalidArguments(
        Text(
            f"書類（{document_size:,}バイト）を含むリクエストは{length:,}バイトになり、"
            f"invoxの上限{MAX_REQUEST_BYTES:,}バイトを超えます。",
            f"With the document ({document_size:,} bytes) the request would be {length:,} bytes; "
            f"invox accepts {MAX_REQUEST_BYTES:,}.",
        ),
        Text("37MB以下に小さくしてください。", "Make the document smaller than 37 MB."),
    )


def checked_registration_number(number: str) -> str:
    """登録番号 of a qualified invoice issuer: T and 13 digits, the first of which checks the other 12.

    Raises ValueError. Source: 法人番号の指定等に関する省令, 2条: 9 less the weighted sum modulo 9.
    Sole proprietors' numbers are no 法人番号; that they follow the same formula is assumed.
    """
    if not _REGISTRATION_NUMBER.fullmatch(number):
        raise misfit("T と13桁の数字で書いてください", "must be T and 13 digits")
    check, base = int(number[1]), number[2:]
    weighted = sum(int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(base)))
    if check != 9 - weighted % 9:
        raise misfit(
            "検査数字が合いません。書類の番号をもう一度読んでください",
            "has a wrong check digit; read it again from the document",
        )
    return number


def checked_amount(value: object) -> object:
    """Raises ValueError unless `value` is exact, with at most 3 decimals and 15 digits in all."""
    amount = exact_decimal(value, digits=MAX_DIGITS, places=MAX_DECIMALS)
    if isinstance(amount, Decimal) and len(amount.as_tuple().digits) > MAX_DIGITS:
        raise misfit(f"全体で{MAX_DIGITS}桁までです", f"must have at most {MAX_DIGITS} digits in all")
    return amount


def checked_line(text: str) -> str:
    """Raises ValueError unless `text` is 1 to 250 characters."""
    return _within(text, MAX_LINE)


def checked_voucher_number(text: str) -> str:
    """Raises ValueError unless `text` is 1 to 30 characters."""
    return _within(text, MAX_VOUCHER_NUMBER)


def checked_currency(code: str) -> str:
    """Raises ValueError unless `code` looks like ISO 4217."""
    if not _CURRENCY.fullmatch(code):
        raise misfit("USD のような英大文字3字で書いてください", "must be three capital letters, such as USD")
    return code


def checked_tags(tags: list[str]) -> list[str]:
    """Raises ValueError for more than 20."""
    if len(tags) > MAX_TAGS:
        raise misfit(f"タグは{MAX_TAGS}個までです", f"must be at most {MAX_TAGS} tags")
    return tags


def _within(text: str, limit: int) -> str:
    if not text.strip() or len(text) > limit:
        raise misfit(f"1〜{limit}文字で書いてください", f"must be 1 to {limit} characters")
    return text
