"""Approving many requests on one page: what was shown is what is voted on, and each is judged alone."""

from __future__ import annotations

import dataclasses
import html
import logging
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import anyio
import httpx2
import pytest
from starlette.applications import Starlette

from gate.stage import PASSPHRASE
from seikyu.errors import ConfigurationError, StoreBusy, Text
from seikyu.gate import freezing, operators
from seikyu.gate.actions import Action, State
from seikyu.gate.batches import Batches, Line
from seikyu.gate.keys import Key
from seikyu.gate.policy import PolicyBook
from seikyu.gate.proposals import Desk
from seikyu.gate.votes import Ballot, BallotBox
from seikyu.settings import MAX_BATCH, BatchCap, read_settings
from seikyu.store.database import Store, Tx
from seikyu.surfaces.doors import Doors, own_hosts, own_origins
from seikyu.surfaces.web import ApprovalRooms, approval_routes, counter, forms
from seikyu.surfaces.web.session import TOKEN_LIFE
from surfaces.browser import (
    FETCH,
    FORM,
    HOSTILE,
    ORIGIN,
    Browser,
    Page,
    assert_guarded,
    assert_harmless,
    banner,
    close,
    move_in,
)

pytestmark = pytest.mark.anyio

POST: Final = "/approvals/batch/decision"
Fields = Sequence[tuple[str, str]]


def address(*actions: Action) -> str:
    return f"/approvals/batch?{urlencode([('id', action.id) for action in actions])}"


def shown_fields(page: str) -> list[tuple[str, str]]:
    """The hidden fields of the form, in the order they stand in."""
    return re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page)


def signed(fields: Fields, **more: str) -> list[tuple[str, str]]:
    given = {"operator": "tanaka", "passphrase": PASSPHRASE, "decision": "approve", "reason": ""} | more
    return [*fields, *given.items()]


async def read(browser: Browser, *actions: Action) -> list[tuple[str, str]]:
    return shown_fields((await browser.get(address(*actions))).text)


async def send(browser: Browser, fields: Fields) -> httpx2.Response:
    headers = {"origin": browser.origin, "content-type": FORM, **FETCH}
    return await browser.client.post(POST, content=urlencode(fields), headers=headers)


async def approve(browser: Browser, *actions: Action, **more: str) -> httpx2.Response:
    return await send(browser, signed(await read(browser, *actions), **more))


def fates(response: httpx2.Response) -> list[tuple[str, str]]:
    """Of every item on the page of results, its kind and its sentence."""
    found = re.findall(r'<li class="(\w+)">.*?<p class="said"><span[^>]*>.</span> (.*?)</p>', response.text, re.DOTALL)
    return [(kind, html.unescape(said)) for kind, said in found]


def told(response: httpx2.Response) -> str:
    found = re.search(r'<p class="banner[^"]*" role="(?:alert|status)">(.*?)</p>', response.text, re.DOTALL)
    return html.unescape(found[1]) if found else ""


def states(page: Page, *actions: Action) -> list[State]:
    return [page.stage.find(action.id).state for action in actions]


def two(page: Page) -> tuple[Action, Action]:
    """Of two people: the day's total of one would be above what the policy lets pass."""
    first = page.stage.propose("A-1", 200_000)
    return first, page.stage.propose("A-2", 210_000, counterparty_name="白川工業", requester="yamada")


def without_an_amount(page: Page) -> Action:
    whole = page.stage.plan("N-1", 0)
    plan = dataclasses.replace(whole, particulars=whole.particulars.model_copy(update={"amount": None}))
    return page.stage.desk.propose(dataclasses.replace(page.stage.proposal("N-1", 0), plan=plan))


def capped(page: Page, cap: BatchCap) -> ApprovalRooms:
    stage = page.stage
    return dataclasses.replace(page.rooms, batches=Batches(stage.store, stage.clock, stage.cards, stage.ballots, cap))


# the walk of an accountant


async def test_ticked_requests_are_read_together_approved_with_one_passphrase_and_each_is_told(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()

    listed = await browser.get("/approvals")
    shown = await browser.get(address(first, second))
    answer = await send(browser, signed(shown_fields(shown.text), reason="注文書と一致"))

    assert listed.text.count('<input type="checkbox" name="id"') == 2
    assert '<form class="choose" method="get" action="/approvals/batch">' in listed.text
    assert "410,000円" in shown.text
    assert ">2件を承認</button>" in shown.text
    assert answer.status_code == 200
    assert told(answer) == "2件のうち2件を承認しました。今回承認した合計は 410,000円 です。"
    assert fates(answer) == [
        ("counted", "承認を記録しました。承認がそろいました。まもなく送信されます。"),
        ("counted", "承認を記録しました。承認がそろいました。まもなく送信されます。"),
    ]
    assert states(page, first, second) == [State.APPROVED, State.APPROVED]
    assert [page.votes(first), page.votes(second)] == [["tanaka"], ["tanaka"]]
    assert page.woken == [first.id, second.id]
    assert "注文書と一致" in (await browser.get(f"/approvals/{second.id}")).text


async def test_every_item_shows_what_an_accountant_checks(page: Page) -> None:
    twin = page.stage.propose("A-0", 200_000)
    first = page.stage.propose("A-1", 200_000)
    second = page.stage.propose("A-2", 1_300_000, counterparty_name="白川工業", requester="yamada")
    page.stage.approve(second, page.sato)

    shown = (await page.browser().get(address(first, second))).text

    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", shown)))
    for said in (
        "1,500,000円",
        "200,000円 株式会社青葉商事（C-1）",
        "1,300,000円 白川工業（C-1）",
        "Register a transaction" if page.lang == "en" else "取引登録",
        "株式会社テスト",
        "mfk-main（mfkessai）",
        "サンドボックス",
        "依頼者 yamada",
        f"似た申請があります: {twin.id}",
        "1 / 2名",
        "sato",
    ):
        assert said in text, said
    for reason in first.decision.why:
        assert reason.partition(": ")[0] in text
    # every line that will be sent is open to the eye and on paper, without a click
    assert shown.count("<details open>") == shown.count("<details") == 2


async def test_a_likeness_to_another_in_the_same_batch_is_pointed_out(page: Page) -> None:
    first, second = page.stage.propose("A-1", 200_000), page.stage.propose("A-2", 200_000)

    both = await page.browser().get(address(first, second))
    alone = await page.browser().get(address(second))

    assert "この一覧にもあります" in both.text
    assert "この一覧にもあります" not in alone.text


async def test_what_needs_a_second_approver_waits_and_says_so(page: Page) -> None:
    small, large = page.stage.propose("A-1", 200_000), page.stage.propose("A-2", 1_100_000)

    answer = await approve(page.browser(), small, large)

    assert fates(answer)[1] == (
        "counted",
        "承認を記録しました。まだ送信されません。不足している承認: 操作者 1名。",
    )
    assert states(page, small, large) == [State.APPROVED, State.AWAITING]
    assert page.woken == [small.id]


async def test_what_was_done_at_once_is_told_as_done_and_sent_once(page: Page) -> None:
    first, second = two(page)

    async def execute(action_id: str) -> None:
        await page.stage.executor.execute(action_id)

    answer = await approve(page.browser(dataclasses.replace(page.rooms, wake=execute)), first, second)

    assert [kind for kind, _ in fates(answer)] == ["counted", "counted"]
    assert all("提供元のデータで完了を確認しました。" in said for _, said in fates(answer))
    assert page.stage.provider.sends == 2


async def test_what_is_still_being_sent_is_not_told_as_done(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "PATIENCE_S", 0.01)
    first, second = two(page)
    finish, finished = anyio.Event(), anyio.Event()

    async def slow(action_id: str) -> None:
        page.stage.claims.take(action_id)
        await finish.wait()
        finished.set()

    browser = page.browser(dataclasses.replace(page.rooms, wake=slow))
    answer = await approve(browser, first, second)
    later = await browser.get(address(first, second))
    finish.set()
    await finished.wait()

    assert "結果はまだ分かりません" in fates(answer)[0][1]
    assert "まもなく送信されます" in fates(answer)[1][1]
    assert 'http-equiv="refresh"' not in answer.text
    assert '<meta http-equiv="refresh" content="5">' in later.text
    assert "<form" not in later.text


async def test_what_is_asked_again_before_it_is_sent_says_so(page: Page) -> None:
    first, second = page.stage.propose("A-1", 200_000), page.stage.propose("A-2", 210_000)

    async def execute(action_id: str) -> None:
        await page.stage.executor.execute(action_id)

    answer = await approve(page.browser(dataclasses.replace(page.rooms, wake=execute)), first, second)

    assert [kind for kind, _ in fates(answer)] == ["counted", "counted"]
    assert "送信の前に承認の条件が変わったため、もう一度承認が必要です（第2版）。" in fates(answer)[0][1]
    assert "不足している承認: 操作者 1名。" in fates(answer)[0][1]
    assert "完了を確認しました。" in fates(answer)[1][1]
    assert states(page, first, second) == [State.AWAITING, State.SUCCEEDED]


async def test_how_they_stand_is_shown_without_asking_again(page: Page) -> None:
    small, large = page.stage.propose("A-1", 200_000), page.stage.propose("A-2", 1_100_000)
    browser = page.browser()
    answer = await approve(browser, small, large)
    link = re.search(r'<p class="onward"><a href="([^"]+)"', answer.text)
    assert link is not None

    shown = await browser.get(html.unescape(link[1]))

    assert shown.status_code == 200
    assert "<form" not in shown.text
    assert "承認がそろいました。まもなく送信されます。" in shown.text
    assert "まだ送信されません。不足している承認: 操作者 1名。" in shown.text
    assert '<meta http-equiv="refresh" content="5">' in shown.text


async def test_one_that_cannot_be_started_does_not_stop_the_others(
    page: Page, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = two(page)

    async def fails_once(action_id: str) -> None:
        if action_id == first.id:
            raise RuntimeError("no executor")
        page.woken.append(action_id)

    answer = await approve(page.browser(dataclasses.replace(page.rooms, wake=fails_once)), first, second)

    assert page.woken == [second.id]
    assert states(page, first, second) == [State.APPROVED, State.APPROVED]
    assert [kind for kind, _ in fates(answer)] == ["counted", "counted"]
    assert "could not be started at once" in caplog.text


# each judged alone


async def test_one_that_was_edited_meanwhile_is_refused_and_the_others_are_approved(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()
    fields = await read(browser, first, second)
    page.stage.revisions.revise(page.stage.draft(first, 190_000), key=page.sato, reason="数量")

    answer = await send(browser, signed(fields))

    assert answer.status_code == 200
    assert told(answer).startswith("2件のうち1件を承認しました。1件は今回承認されていません。")
    assert fates(answer)[0] == (
        "refused",
        "今回の承認は記録されていません。表示された内容と現在の内容が違います。もう一度表示して確かめてください。",
    )
    assert states(page, first, second) == [State.AWAITING, State.APPROVED]
    assert page.votes(first) == []
    assert page.woken == [second.id]


async def test_ones_own_request_among_others_is_refused_alone(page: Page) -> None:
    own, other = page.stage.propose("A-1", 200_000, requester="tanaka"), page.stage.propose("A-2", 210_000)

    browser = page.browser()
    answer = await approve(browser, own, other)
    warned = await browser.get(address(own))

    assert [kind for kind, _ in fates(answer)] == ["refused", "counted"]
    assert "tanaka の申請です。本人は承認できません。" in warned.text
    assert "自分の申請は決定できません。" in fates(answer)[0][1]
    assert states(page, own, other) == [State.AWAITING, State.APPROVED]


async def test_what_is_decided_already_or_gone_or_over_is_left_out_and_says_why(page: Page) -> None:
    stage = page.stage
    over = stage.propose("A-0", 190_000)
    stage.clock.advance(seconds=stage.settings.timing.awaiting_s)
    decided, open_ = two(page)
    stage.ballots.cast(Ballot(decided.id, decided.digest, "reject", "二重"), page.sato)
    unknown = without_an_amount(page)
    nowhere = f"act-{'0' * 20}"

    shown = await page.browser().get(f"{address(over, decided, open_, unknown)}&id={nowhere}")

    assert shown.status_code == 200
    assert [value for name, value in shown_fields(shown.text) if name == "item"] == [
        f"{open_.id}.1.{open_.digest}",
    ]
    assert "一括承認に含まれない申請（4件）" in shown.text
    for why in ("期限切れです。", "却下。", "金額が不明です。", "その番号の申請はありません。"):
        assert why in shown.text
    assert "list_actions" not in shown.text
    assert ">1件を承認</button>" in shown.text


async def test_decided_between_the_page_and_the_button_is_refused_alone(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()
    fields = await read(browser, first, second)
    page.stage.ballots.cast(Ballot(first.id, first.digest, "reject", "二重"), page.sato)

    answer = await send(browser, signed(fields))

    assert fates(answer)[0] == (
        "refused",
        "今回の承認は記録されていません。現在は「却下」です。sato: 二重",
    )
    assert states(page, first, second) == [State.REJECTED, State.APPROVED]


async def test_when_none_is_approved_the_page_says_so_and_nothing_is_woken(page: Page) -> None:
    own = page.stage.propose("A-1", 200_000, requester="tanaka")

    answer = await approve(page.browser(), own)

    assert answer.status_code == 409
    assert told(answer) == "1件のうち0件を承認しました。1件は今回承認されていません。"
    assert page.woken == []


async def test_a_frozen_house_takes_the_votes_and_says_that_nothing_is_sent(page: Page) -> None:
    first, second = two(page)
    freezing.freeze(page.stage.store, page.stage.clock, os_user="ito", operator=None, reason="<b>疑い</b>")
    browser = page.browser()

    shown = await browser.get(address(first, second))
    answer = await send(browser, signed(shown_fields(shown.text)))

    assert "緊急停止中です。何も送信されません（ito: &lt;b&gt;疑い&lt;/b&gt;）。" in shown.text
    assert "緊急停止中です。" in answer.text
    assert all("緊急停止が解除されるまで送信されません。" in said for _, said in fates(answer))
    assert page.stage.provider.sends == 0


async def test_a_delegate_approves_many_for_another(page: Page) -> None:
    stage = page.stage
    operators.grant(stage.store, stage.clock, "sato", roles=[], ceiling=0, by=page.tanaka)
    until = stage.clock.now().date()
    operators.lend(stage.store, stage.clock, "sato", until=until, ceiling=None, by=page.tanaka)
    first, second = two(page)
    browser = page.browser()

    shown = await browser.get(address(first, second))
    answer = await send(browser, signed(shown_fields(shown.text), operator="sato", acting_for="tanaka"))

    assert '<option value="tanaka">' in shown.text
    assert [kind for kind, _ in fates(answer)] == ["counted", "counted"]
    assert page.votes(first) == ["sato"]


class UnsureBox(BallotBox):
    """A ballot box whose database is out of reach for one of the votes."""

    unlucky = ""

    def cast(self, ballot: Ballot, key: Key) -> Action:
        if ballot.action_id == self.unlucky:
            raise StoreBusy(Text("データベースに届きません。", "The database is out of reach."))
        return super().cast(ballot, key)


async def test_a_vote_the_database_did_not_take_is_told_and_the_others_stand(page: Page) -> None:
    first, second = two(page)
    stage = page.stage
    box = UnsureBox(stage.store, stage.clock, stage.settings.timing)
    box.unlucky = first.id
    batches = Batches(stage.store, stage.clock, stage.cards, box, stage.settings.batch)

    answer = await approve(page.browser(dataclasses.replace(page.rooms, batches=batches)), first, second)

    assert fates(answer)[0] == ("refused", "今回の承認は記録されていません。データベースに届きません。")
    assert states(page, first, second) == [State.AWAITING, State.APPROVED]


class GoneAfterTheVotes(Batches):
    """The database cannot be read any more once the votes are cast."""

    is_gone = False

    def lines(self, action_ids: Iterable[str]) -> tuple[Line, ...]:
        if self.is_gone:
            raise StoreBusy(Text("データベースに届きません。", "The database is out of reach."))
        return super().lines(action_ids)


async def test_votes_that_were_cast_are_told_even_when_nothing_can_be_read_afterwards(page: Page) -> None:
    first, second = two(page)
    stage = page.stage
    batches = GoneAfterTheVotes(stage.store, stage.clock, stage.cards, stage.ballots, stage.settings.batch)

    async def lose(_action_id: str) -> None:
        batches.is_gone = True

    answer = await approve(page.browser(dataclasses.replace(page.rooms, batches=batches, wake=lose)), first, second)

    assert answer.status_code == 200
    assert fates(answer) == [("counted", "承認を記録しました。")] * 2
    assert first.id in answer.text


# one passphrase


async def test_a_wrong_passphrase_approves_nothing_and_counts_as_one_attempt(page: Page) -> None:
    first, second = two(page)

    answer = await approve(page.browser(), first, second, passphrase="not the passphrase", reason="見ました")

    with page.stage.store.read() as tx:
        row = tx.one("operator", name="tanaka")
    assert answer.status_code == 403
    assert banner(answer).startswith("操作者名か合言葉が違います。今回の決定は記録されていません。")
    assert ">見ました</textarea>" in answer.text
    assert "not the passphrase" not in answer.text
    assert states(page, first, second) == [State.AWAITING, State.AWAITING]
    assert row is not None
    assert row["failures"] == 1


async def test_after_too_many_wrong_passphrases_a_batch_waits_too(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()
    for _ in range(4):
        await approve(browser, first, second, passphrase="not the passphrase")

    answer = await approve(browser, first, second)

    assert answer.status_code == 403
    assert "秒待ってください" in banner(answer)
    assert states(page, first, second) == [State.AWAITING, State.AWAITING]


async def test_after_a_wrong_passphrase_what_changed_meanwhile_is_marked(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()
    fields = await read(browser, first, second)
    page.stage.revisions.revise(page.stage.draft(first, 190_000), key=page.sato, reason="数量")

    answer = await send(browser, signed(fields, passphrase="not the passphrase"))

    assert "表示したあとで内容が変わった申請があります。" in banner(answer)
    assert answer.text.count("表示後に内容が変わりました") == 1
    assert "190,000円" in answer.text


@pytest.mark.parametrize("lacking", [{"operator": ""}, {"passphrase": ""}, {"reason": "長" * 501}])
async def test_an_incomplete_form_is_given_back_and_costs_no_try(page: Page, lacking: dict[str, str]) -> None:
    first, second = two(page)
    before = page.dump()

    answer = await approve(page.browser(), first, second, **lacking)

    assert answer.status_code == 400
    assert banner(answer)
    assert page.dump() == before


async def test_the_passphrase_is_nowhere_but_in_the_request(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    first, second = two(page)
    browser = page.browser()

    answers = [
        await approve(browser, first, second, passphrase="canary of a wrong passphrase"),
        await approve(browser, first, second),
        await browser.get(address(first, second)),
    ]

    kept = [page.dump(), caplog.text, *(f"{answer.headers}{answer.text}" for answer in answers)]
    for canary in ("canary of a wrong passphrase", PASSPHRASE):
        assert not any(canary in text for text in kept)


# the same form again


async def test_the_same_form_posted_twice_votes_once_and_tells_the_truth_both_times(page: Page) -> None:
    small, large = page.stage.propose("A-1", 200_000), page.stage.propose("A-2", 1_100_000)
    browser = page.browser()
    fields = signed(await read(browser, small, large))

    first = await send(browser, fields)
    again = await send(browser, fields)

    assert [kind for kind, _ in fates(first)] == ["counted", "counted"]
    assert again.status_code == 200
    assert told(again) == "2件のうち0件を承認しました。2件にはあなたの承認が既にありました。"
    assert fates(again) == [
        ("already", "あなたの承認は既に記録されています。承認がそろいました。まもなく送信されます。"),
        ("already", "あなたの承認は既に記録されています。まだ送信されません。不足している承認: 操作者 1名。"),
    ]
    assert [page.votes(small), page.votes(large)] == [["tanaka"], ["tanaka"]]
    assert page.woken == [small.id]


async def test_a_double_click_counts_every_item_in_one_of_the_two_answers(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()
    fields = signed(await read(browser, first, second))
    answers: list[httpx2.Response] = []

    async def press() -> None:
        answers.append(await send(browser, fields))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(press)
        tasks.start_soon(press)

    for place in range(2):
        assert sorted(fates(answer)[place][0] for answer in answers) == ["already", "counted"]
    assert [page.votes(first), page.votes(second)] == [["tanaka"], ["tanaka"]]
    assert sorted(page.woken) == sorted([first.id, second.id])


async def test_a_form_of_a_batch_holds_for_an_hour(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()
    fields = await read(browser, first, second)
    page.stage.clock.advance(seconds=int(TOKEN_LIFE.total_seconds()))

    late = await send(browser, signed(fields))
    fresh = await send(browser, signed(shown_fields(late.text)))

    assert (late.status_code, fresh.status_code) == (403, 200)
    assert "このページは古くなったか" in banner(late)
    assert states(page, first, second) == [State.APPROVED, State.APPROVED]


# the caps


async def test_more_than_the_caps_is_not_offered(page: Page) -> None:
    first, second = two(page)

    many = await page.browser(capped(page, BatchCap(count=1))).get(address(first, second))
    much = await page.browser(capped(page, BatchCap(yen=409_999))).get(address(first, second))
    fits = await page.browser(capped(page, BatchCap(count=2, yen=410_000))).get(address(first, second))

    assert "一括承認は1件までです（2件が選ばれています）。分けて承認してください。" in banner(many)
    assert "一括承認は合計 409,999円 までです（合計 410,000円）。分けて承認してください。" in banner(much)
    assert [answer.status_code for answer in (many, much, fits)] == [400, 400, 200]
    assert ["<form" in answer.text for answer in (many, much, fits)] == [False, False, True]
    assert f'href="/approvals?id={first.id}&amp;id={second.id}"' in many.text


@pytest.mark.parametrize("cap", [BatchCap(count=1), BatchCap(yen=409_999)])
async def test_a_cap_that_was_lowered_since_the_page_was_shown_holds(page: Page, cap: BatchCap) -> None:
    first, second = two(page)
    browser = page.browser()
    fields = await read(browser, first, second)
    lowered = page.browser(capped(page, cap))
    lowered.client.cookies.update(browser.client.cookies)

    answer = await send(lowered, signed(fields))

    assert answer.status_code == 403
    assert "分けて承認してください" in banner(answer)
    assert states(page, first, second) == [State.AWAITING, State.AWAITING]


async def test_the_list_says_the_caps_and_keeps_what_was_ticked(page: Page) -> None:
    first, second = two(page)
    unknown = without_an_amount(page)

    shown = (await page.browser().get(f"/approvals?id={second.id}&id={unknown.id}")).text

    assert "一度に50件、合計 10,000,000円 まで" in shown
    assert f'value="{first.id}">' in shown
    assert f'value="{second.id}" checked>' in shown
    assert f'value="{unknown.id}"' not in shown
    assert "1件ずつ" in shown


async def test_as_many_as_there_can_ever_be_fit_into_the_form(page: Page) -> None:
    page.stage.clock.advance(seconds=1)
    people = ["suzuki", "yamada"]
    actions = [page.stage.propose(f"A-{n}", 100_000 + n, requester=people[n % 2]) for n in range(MAX_BATCH)]
    browser = page.browser(capped(page, BatchCap(count=MAX_BATCH, yen=10**9)))
    fields = await read(browser, *actions)
    largest = signed(fields, reason="長" * 500, passphrase="鍵" * 1024)

    answer = await send(browser, largest)

    assert len(urlencode(largest)) <= forms.MAX_BATCH_BODY
    assert answer.status_code == 403
    assert "操作者名か合言葉が違います" in banner(answer)


@pytest.mark.parametrize(
    "name,value", [("COUNT", "0"), ("COUNT", "101"), ("COUNT", "-1"), ("COUNT", "ten"), ("COUNT", "５"),
                   ("YEN", "-1"), ("YEN", "1e6"), ("YEN", "10,000"), ("YEN", "1.5"), ("YEN", "9" * 16)]
)  # fmt: skip
def test_caps_that_are_none_are_named_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"SEIKYU_BATCH_{name}", value)

    with pytest.raises(ConfigurationError) as told_:
        read_settings(tmp_path)

    assert told_.value.what.en == (
        "SEIKYU_BATCH_COUNT must be 1 to 100 and SEIKYU_BATCH_YEN whole yen, such as 50 and 10000000."
    )


@pytest.mark.parametrize(
    "given,cap",
    [
        ({}, BatchCap(50, 10_000_000)),
        ({"COUNT": "", "YEN": ""}, BatchCap(50, 10_000_000)),
        ({"COUNT": "1", "YEN": "0"}, BatchCap(1, 0)),
        ({"COUNT": "100", "YEN": "999999999999999"}, BatchCap(100, 999_999_999_999_999)),
    ],
)
def test_the_caps_are_what_the_variables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Mapping[str, str], cap: BatchCap
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"SEIKYU_BATCH_{name}", value)

    assert read_settings(tmp_path).batch == cap


# requests that are not from our page


@dataclass(frozen=True)
class Attempt:
    """A request that would approve two, with the right passphrase, before a test bends it."""

    fields: tuple[tuple[str, str], ...]
    cookie: str
    other: Action
    """Waits too, and was not on the page."""
    method: str = "POST"
    path: str = POST
    headers: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"origin": ORIGIN, "content-type": FORM, **FETCH}
    )
    body: bytes | None = None

    def but(self, **changes: object) -> Attempt:
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def says(self, **headers: str) -> Attempt:
        return self.but(headers={**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}})

    def without(self, *names: str) -> Attempt:
        return self.but(headers={name: value for name, value in self.headers.items() if name not in names})

    def fills(self, **fields: str) -> Attempt:
        return self.but(fields=tuple((name, fields.get(name, value)) for name, value in self.fields))

    def lacks(self, wanted: str) -> Attempt:
        return self.but(fields=tuple(field for field in self.fields if field[0] != wanted))

    def adds(self, *fields: tuple[str, str]) -> Attempt:
        return self.but(fields=(*self.fields, *fields))

    @property
    def items(self) -> list[str]:
        return [value for name, value in self.fields if name == "item"]

    def with_items(self, *items: str) -> Attempt:
        return self.lacks("item").adds(*(("item", item) for item in items))


Bend = Callable[[Attempt], Attempt]


def unbent(attempt: Attempt) -> Attempt:
    return attempt


def without_fetch_metadata(attempt: Attempt) -> Attempt:
    """As a browser of before 2023 asks."""
    return attempt.without(*FETCH)


def another(attempt: Attempt) -> str:
    return f"{attempt.other.id}.{attempt.other.revision}.{attempt.other.digest}"


SHAPES: Final[dict[str, tuple[int, Bend]]] = {
    "no origin": (403, lambda a: a.without("origin")),
    "no origin and no fetch metadata, like curl": (403, lambda a: a.without("origin", *FETCH)),
    "null origin": (403, lambda a: a.says(origin="null")),
    "foreign origin": (403, lambda a: a.says(origin="https://evil.example")),
    "foreign origin of an old browser": (403, lambda a: a.without(*FETCH).says(origin="https://evil.example")),
    "a rebound host with our origin": (403, lambda a: a.says(host="evil.example:8765")),
    "cross-site": (403, lambda a: a.says(sec_fetch_site="cross-site")),
    "same-site, such as another port": (403, lambda a: a.says(sec_fetch_site="same-site")),
    "in an iframe": (403, lambda a: a.says(sec_fetch_dest="iframe")),
    "fetch with cors": (403, lambda a: a.says(sec_fetch_mode="cors", sec_fetch_dest="empty")),
    "json": (415, lambda a: a.says(content_type="application/json")),
    "multipart": (415, lambda a: a.says(content_type="multipart/form-data; boundary=x")),
    "a compressed body": (415, lambda a: a.says(content_encoding="gzip")),
    "oversized": (413, lambda a: a.fills(reason="x" * 40_000)),
    "not a form": (400, lambda a: a.but(body=b"item")),
    "no items": (400, lambda a: a.lacks("item")),
    "an item that is none": (400, lambda a: a.with_items(*a.items, "x")),
    "an item of revision 0": (400, lambda a: a.with_items(a.items[0].replace(".1.", ".0."), a.items[1])),
    "an item twice": (400, lambda a: a.with_items(*a.items, a.items[0])),
    "more items than there can be": (400, lambda a: a.adds(*[("item", another(a))] * MAX_BATCH)),
    "a field twice": (400, lambda a: a.adds(("decision", "approve"))),
    "a field too many": (400, lambda a: a.adds(("next", "//evil.example"))),
    "a field too few": (400, lambda a: a.lacks("reason")),
    "a rejection": (400, lambda a: a.fills(decision="reject")),
    "a revocation": (400, lambda a: a.fills(decision="revoke")),
    "an item added": (403, lambda a: a.with_items(*a.items, another(a))),
    "an item exchanged": (403, lambda a: a.with_items(a.items[0], another(a))),
    "an item taken away": (403, lambda a: a.with_items(a.items[0])),
    "the items in another order": (403, lambda a: a.with_items(*reversed(a.items))),
    "another digest": (403, lambda a: a.with_items(a.items[0][:-64] + "0" * 64, a.items[1])),
    "another revision": (403, lambda a: a.with_items(a.items[0].replace(".1.", ".2."), a.items[1])),
    "empty token": (403, lambda a: a.fills(token="")),
    "forged token": (403, lambda a: a.fills(token=f"9999999999.{'0' * 64}")),
    "missing cookie": (403, lambda a: a.but(cookie="")),
    "cookie of another browser": (403, lambda a: a.but(cookie=f"seikyu_page={'A' * 43}")),
    "GET": (405, lambda a: a.but(method="GET")),
    "PUT": (405, lambda a: a.but(method="PUT")),
    "POST to the page itself": (405, lambda a: a.but(path="/approvals/batch")),
}


@contextmanager
def besieged_house(enrolled: tuple[Path, Key, Key], folder: Path) -> Generator[tuple[Page, list[Action]]]:
    page = move_in(enrolled, folder)
    yield page, [page.stage.propose(f"A-{n}", 200_000 + n) for n in range(3)]
    close(page)


@pytest.fixture(scope="module")
def besieged(
    enrolled: tuple[Path, Key, Key], tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[Page, list[Action]]]:
    with besieged_house(enrolled, tmp_path_factory.mktemp("besieged") / "home") as house:
        yield house


async def attempt_on(page: Page, actions: Sequence[Action]) -> Attempt:
    browser = page.browser()
    fields = signed(await read(browser, *actions[:2]))
    return Attempt(tuple(fields), f"seikyu_page={browser.client.cookies['seikyu_page']}", actions[2])


async def make(page: Page, attempt: Attempt) -> httpx2.Response:
    cookie = {"cookie": attempt.cookie} if attempt.cookie else {}
    body = urlencode(attempt.fields).encode() if attempt.body is None else attempt.body
    client = page.browser().client
    return await client.request(attempt.method, attempt.path, headers={**attempt.headers, **cookie}, content=body)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_batch_that_is_not_from_our_page_changes_nothing(
    besieged: tuple[Page, list[Action]], shape: str
) -> None:
    page, actions = besieged
    status, bend = SHAPES[shape]
    bent = bend(await attempt_on(page, actions))
    before = page.dump()

    answer = await make(page, bent)

    assert page.dump() == before
    assert page.woken == []
    assert answer.status_code == status
    assert_guarded(answer)
    assert PASSPHRASE not in answer.text


@pytest.mark.parametrize("bend", [unbent, without_fetch_metadata])
async def test_the_same_batch_unbent_is_approved(page: Page, bend: Bend) -> None:
    actions = [page.stage.propose(f"A-{n}", 200_000 + n) for n in range(3)]

    answer = await make(page, bend(await attempt_on(page, actions)))

    assert answer.status_code == 200
    assert states(page, *actions) == [State.APPROVED, State.APPROVED, State.AWAITING]


async def test_the_token_of_one_kind_of_page_is_none_of_the_other(page: Page) -> None:
    action = page.stage.propose("A-1", 200_000)
    browser = page.browser()
    batch, sheet = dict(await read(browser, action)), await browser.read(action)

    as_batch = await send(browser, signed([("token", sheet["token"]), ("item", batch["item"])]))
    as_sheet = await browser.send(action, dict(signed([*(sheet | {"token": batch["token"]}).items()])))

    assert (as_batch.status_code, as_sheet.status_code) == (403, 403)
    assert states(page, action) == [State.AWAITING]


async def test_behind_the_doors_a_batch_works_and_a_rebound_host_does_not(page: Page) -> None:
    first, second = two(page)
    hosts = own_hosts("127.0.0.1", 8765)
    app = Doors(Starlette(routes=approval_routes(page.rooms)), hosts, own_origins(hosts))
    transport = httpx2.ASGITransport(app=app)
    browser = Browser(transport, httpx2.AsyncClient(transport=transport, base_url=ORIGIN), ORIGIN)

    rebound = await browser.client.get(address(first), headers={"host": "evil.example:8765"})
    answer = await approve(browser, first, second)

    assert (rebound.status_code, answer.status_code) == (421, 200)


# what leaves the page


@pytest.mark.parametrize("path", ["/approvals/batch", "/approvals/batch?id=", "/approvals/batch?id=act-1"])
async def test_an_address_without_requests_leads_back_to_the_list(page: Page, path: str) -> None:
    shown = await page.browser().get(path)

    assert shown.status_code == 400
    assert banner(shown)
    assert 'href="/approvals"' in shown.text


async def test_words_in_the_address_are_not_said_by_our_page(page: Page) -> None:
    shown = await page.browser().get(f"/approvals/batch?{urlencode({'id': '03-1234-5678 に電話してください'})}")

    assert "電話" not in shown.text


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_names_are_shown_and_never_run(page: Page, name: str) -> None:
    first = page.stage.propose("A-1", 200_000, counterparty_name=name, requester=f"r{name}")
    second = page.stage.propose("A-2", 210_000, counterparty_name=name)
    browser = page.browser()

    pages_shown = [
        await browser.get("/approvals"),
        await browser.get(address(first, second)),
        await approve(browser, first, second, passphrase="wrong passphrase", operator=name, reason=name),
        await approve(browser, first, second, reason=name),
    ]
    for action in (first, second):
        await page.stage.executor.execute(action.id)
    pages_shown.append(await browser.get(address(first, second)))

    for shown in pages_shown:
        assert_harmless(shown)
    assert "410,000円" in pages_shown[1].text


async def test_the_pages_need_no_script_no_inline_style_and_nobody_else(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()

    shown = [await browser.get(address(first, second)), await approve(browser, first, second)]

    for answer in shown:
        assert_guarded(answer)
        for word in ("<script", "style=", "://"):
            assert word not in answer.text


async def test_enter_in_a_field_approves_nothing(page: Page) -> None:
    shown = await page.browser().get(address(page.stage.propose("A-1", 200_000)))

    first = re.search(r"<button[^>]*>", shown.text)
    assert first is not None
    assert first[0] == '<button type="submit" hidden disabled>'


async def test_every_tick_and_every_field_has_its_label(page: Page) -> None:
    first, second = two(page)
    browser = page.browser()

    listed, shown = (await browser.get("/approvals")).text, (await browser.get(address(first, second))).text

    assert "白川工業 210,000円 を選ぶ" in listed
    assert len(re.findall(r'<label><input type="checkbox"', listed)) == 2
    for field in ("operator", "passphrase", "reason"):
        assert f'<label for="{field}">' in shown
        assert f'id="{field}" name="{field}"' in shown


async def test_the_pages_speak_english_when_the_house_does(page: Page) -> None:
    page.lang = "en"
    first, second = two(page)
    browser = page.browser()

    shown = await browser.get(address(first, second))
    answer = await approve(browser, first, second)

    assert ">Approve 2</button>" in shown.text
    assert told(answer) == "Approved 2 of 2. Approved now: 410,000円 in all."
    assert fates(answer)[0] == ("counted", "Your approval is recorded. All votes are there. It will be sent soon.")
    assert not re.search(r"[ぁ-ん]", re.sub(r"<title>.*?</title>", "", answer.text).replace("株式会社", ""))


class CountingStore(Store):
    """Counts the transactions that read."""

    reads = 0

    @contextmanager
    def read(self) -> Generator[Tx]:
        self.reads += 1
        with super().read() as tx:
            yield tx


async def test_a_long_list_costs_no_more_transactions_than_a_short_one(page: Page) -> None:
    two(page)
    store = CountingStore(page.stage.settings.store_place)
    settings = page.stage.settings
    desk = Desk(store, page.stage.clock, settings, PolicyBook(settings.policy_file))
    browser = page.browser(dataclasses.replace(page.rooms, store=store, desk=desk))
    await browser.get("/approvals")
    short = store.reads
    for number in range(8):
        page.stage.approve(page.stage.propose(f"B-{number}", 1_100_000 + number), page.tanaka)

    shown = await browser.get("/approvals")
    long = store.reads - short
    store.close()

    assert shown.text.count(">1 / 2</td>") == 8
    assert long == short
