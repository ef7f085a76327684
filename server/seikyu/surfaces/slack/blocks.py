"""What Slack shows of an action: the operator's card, in plain text objects only.

Nothing is cut or folded. A card that does not fit has no buttons, for nobody approves what they cannot read whole.
Limits: 50 blocks a message, 150 characters a header, 3,000 a section, 2,000 a button's value.
Source: docs.slack.dev, Block Kit reference, read 2026-11-21.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from seikyu.errors import Lang, Text
from seikyu.gate.actions import State
from seikyu.gate.cards import Card
from seikyu.gate.votes import MAX_REASON

Block = Mapping[str, Any]

MAX_BLOCKS: Final = 50
MAX_SECTION: Final = 3000
MAX_HEADER: Final = 150
MAX_TEXT: Final = 10_000
"""Characters of a whole message. Slack names no limit, but refuses longer ones with `msg_blocks_too_long`.

That was seen from 11,341 on; that 10,000 always pass is a guess. Source: slackapi/bolt-js, issues 2509 and 2867, read
2026-11-21.
"""

APPROVE, REJECT, RETURN = "seikyu_approve", "seikyu_reject", "seikyu_return"
DECISION_OF: Final = {APPROVE: "approve", REJECT: "reject", RETURN: "return"}
MODAL: Final = "seikyu_reason"
REASON_BLOCK: Final = "reason"

_VALUE: Final = re.compile(r"(act-[0-9a-z]{20}):([0-9a-f]{64}):([1-9][0-9]{0,5})", re.ASCII)
_TOO_LONG: Final = Text(
    "内容が長いため Slack には全部を表示できず、Slack では決定できません。承認画面か端末で確かめてください。",
    "This is too long for Slack: read it, and decide, on the approval page or in a terminal.",
)


@dataclass(frozen=True, slots=True)
class About:
    """What a button or a form is about."""

    action_id: str
    digest: str
    revision: int

    @property
    def value(self) -> str:
        return f"{self.action_id}:{self.digest}:{self.revision}"


def read_value(value: str) -> About | None:
    """A button's value, when it is one of ours."""
    found = _VALUE.fullmatch(value)
    return None if found is None else About(found[1], found[2], int(found[3]))


def message(card: Card, lang: Lang, *, posted_for: str | None = None) -> dict[str, Any]:
    """`text` (for notifications) and `blocks` of an action as it stands; buttons while it waits.

    `posted_for` is the digest of a message that was posted before: clicks on one of another content count for nothing,
    so it shows none of it any more.
    """
    if posted_for not in {None, card.digest}:
        return _superseded(card, lang)
    title = f"{card.title.say(lang)} {card.head[0].value}: {card.state_text.say(lang)}"
    lines = [f"{line.label.say(lang)}: {line.value}" for line in (*card.head, *card.lines)]
    edits = [edit.text.say(lang) for edit in card.edits]
    notes = [text.say(lang) for text in card.notes]
    which = Text(f"{card.action_id}（第{card.revision}版）", f"{card.action_id} (revision {card.revision})").say(lang)
    about = [*edits, *card.why, *notes, *_votes(card, lang), which, card.digest[:12]]
    blocks: list[Block] = [_header(title), *_sections(lines), *_sections(about)]
    if len(blocks) >= MAX_BLOCKS or sum(map(len, (title, *lines, *about))) > MAX_TEXT:
        short = [*lines[: len(card.head)], _TOO_LONG.say(lang), which]
        blocks = [_header(title), *_sections(short)]
    elif card.state is State.AWAITING:
        blocks.append(_buttons(About(card.action_id, card.digest, card.revision), card.head[0].value, lang))
    return _body(title, blocks)


def _superseded(card: Card, lang: Lang) -> dict[str, Any]:
    """What is left of a message about an earlier content."""
    said = Text(
        f"このメッセージのあとで内容が変わり、第{card.revision}版になりました（現在:「{card.state_text.ja}」）。",
        f"It has changed since this message; it is revision {card.revision} now, {card.state_text.en}.",
    )
    if card.state is State.AWAITING:
        said += Text(
            "その版のメッセージか、承認画面で決定してください。",
            "Decide on the message of that revision, or on the page.",
        )
    title = f"{card.title.say(lang)}: {Text('古い内容', 'out of date').say(lang)}"
    return _body(title, [_header(title), *_sections([said.say(lang), card.action_id])])


def _body(title: str, blocks: Sequence[Block]) -> dict[str, Any]:
    # the title is our own words and an amount: nothing in it is markup
    return {"text": title, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False, "blocks": blocks}


def modal(about: About, decision: str, place: tuple[str, str], lang: Lang) -> dict[str, Any]:
    """The form that asks why; `place` is the message's channel and ts, which come back with it."""
    titles = {"reject": Text("却下", "Reject"), "return": Text("差戻し", "Send back")}
    known = {"about": about.value, "decision": decision, "channel": place[0], "ts": place[1]}
    return {
        "type": "modal",
        "callback_id": MODAL,
        "private_metadata": json.dumps(known),
        "title": _plain(titles[decision].say(lang)),
        "submit": _plain(titles[decision].say(lang)),
        "close": _plain(Text("戻る", "Back").say(lang)),
        "blocks": [
            {
                "type": "input",
                "block_id": REASON_BLOCK,
                "label": _plain(Text("理由", "Reason").say(lang)),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON_BLOCK,
                    "multiline": True,
                    "min_length": 1,
                    "max_length": MAX_REASON,
                },
            }
        ],
    }


@dataclass(frozen=True, slots=True)
class Form:
    """What a submitted form is about."""

    about: About
    decision: str
    channel: str
    ts: str


def read_metadata(text: str) -> Form | None:
    """What we gave the form to carry, when it is that."""
    try:
        known: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(known, dict):
        return None
    words = {str(key): str(value) for key, value in cast("dict[object, object]", known).items()}
    about = read_value(words.get("about", ""))
    is_ours = about is not None and words.get("decision") in {"reject", "return"} and {"channel", "ts"} <= words.keys()
    return Form(about, words["decision"], words["channel"], words["ts"]) if is_ours and about is not None else None


def _votes(card: Card, lang: Lang) -> Sequence[str]:
    names = ", ".join(card.approvals) or "—"
    have = f"{len(card.approvals)}/{card.approvers}"
    lines = [Text(f"承認 {have}: {names}", f"Approvals {have}: {names}")]
    if card.missing.en:
        lines.append(Text(f"不足している承認: {card.missing.ja}", f"Still missing: {card.missing.en}"))
    if card.state is State.AWAITING:
        lines.append(Text(f"期限 {card.expires}（日本時間）", f"Expires {card.expires} in Japan"))
    lines.append(Text(f"依頼者 {card.requester}", f"Requester {card.requester}"))
    if card.outcome is not None:
        lines.append(card.outcome)
    return [line.say(lang) for line in lines]


def _header(text: str) -> Block:
    if len(text) > MAX_HEADER:
        return _section(text)
    return {"type": "header", "text": _plain(text)}


def _sections(lines: Sequence[str]) -> list[Block]:
    """Lines in as few sections as hold them; a line that is too long goes on in the next."""
    pieces = [line[at : at + MAX_SECTION] for line in lines for at in range(0, len(line), MAX_SECTION)]
    texts: list[str] = []
    for piece in pieces:
        if texts and len(texts[-1]) + 1 + len(piece) <= MAX_SECTION:
            texts[-1] += f"\n{piece}"
        else:
            texts.append(piece)
    return [_section(text) for text in texts]


def _section(text: str) -> Block:
    """Without `expand`, Slack may fold a long one behind "see more".

    Source: docs.slack.dev, section block, read 2026-11-21.
    """
    return {"type": "section", "text": _plain(text), "expand": True}


def _buttons(about: About, amount: str, lang: Lang) -> Block:
    confirm = {
        "title": _plain(Text("承認しますか", "Approve?").say(lang)),
        "text": _plain(amount),
        "confirm": _plain(Text("承認", "Approve").say(lang)),
        "deny": _plain(Text("戻る", "Back").say(lang)),
    }
    return {
        "type": "actions",
        "elements": [
            _button(APPROVE, Text("承認", "Approve"), about, lang) | {"style": "primary", "confirm": confirm},
            _button(RETURN, Text("差戻し", "Send back"), about, lang),
            _button(REJECT, Text("却下", "Reject"), about, lang) | {"style": "danger"},
        ],
    }


def _button(action_id: str, text: Text, about: About, lang: Lang) -> dict[str, Any]:
    return {"type": "button", "action_id": action_id, "text": _plain(text.say(lang)), "value": about.value}


def _plain(text: str) -> dict[str, Any]:
    """Shown as it is: no markup, no links, no `:emoji:`."""
    return {"type": "plain_text", "text": text, "emoji": False}
