"""Bad weather for a login: `python -m storm.weather [--seconds N] [--cuts N] [--seed N] [--store sqlite|postgres]`.

First the storm: every process uses one connection all the time while one of them is killed every few seconds and one
is stopped in the middle of a renewal until its lease is over. The authorization server is not ours, rotates refresh
tokens and ends a grant whose refresh token comes twice; it counts by itself. Then the cuts: a process is killed at a
random point between its token request and the commit of the answer, and the next one must tell at once what is true.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from crash.family import bear, bury
from crash.upstream import Said, Wire
from postgres import STORES, databases
from storm.ours import Site, ask, make_sites, work
from storm.provider import Provider, Seen, running_provider

LIFE_S: Final = 2
EARLY_MS: Final = 1_500
"""A token is renewed after three quarters of its life, never sooner."""
KILL_EVERY_S: Final = (2, 4)
STOPPED_S: Final = 18
"""Longer than a lease, 15 s."""
CALM_S: Final = 25
"""Between two stops; everybody is well again by then."""
WORKERS: Final = 8
"""At each site."""
SITES: Final = {"sqlite": 1, "postgres": 4}
LONG_LIFE_S: Final = 3_600
"""Of the tokens in the cuts, where an old one must have time to serve."""
TOLD_MS: Final = 1_000


@dataclass
class Worker:
    pid: int
    wire: Wire
    site: Site


@dataclass
class Storm:
    """The processes of a run, and what happened to them."""

    provider: Provider
    sites: Sequence[Site]
    random: Random
    workers: list[Worker] = field(default_factory=list[Worker])
    used: Counter[str] = field(default_factory=Counter[str])
    kills: int = 0
    stops: int = 0
    cut: int = 0
    """Kills that fell into a renewal, after which nobody can know: a person connects again."""
    strange: list[str] = field(default_factory=list[str])

    def start(self, site: Site) -> None:
        pid, wire = bear(partial(work, site))
        self.workers.append(Worker(pid, wire, site))

    def listen(self, until: float) -> None:
        """Add up what the workers say, until that moment."""
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([worker.wire.end for worker in self.workers], [], [], left)
            for worker in [worker for worker in self.workers if worker.wire.end in ready]:
                heard = worker.wire.hear()
                if heard is None:
                    self.strange.append(f"worker {worker.pid} ended by itself: {bury(worker.pid)}")
                    self.workers.remove(worker)
                    self.start(worker.site)
                for counted in heard or []:
                    self.used.update({str(name): int(number) for name, number in counted.items()})

    def kill_one(self) -> None:
        worker = self.random.choice(self.workers)
        os.kill(worker.pid, signal.SIGKILL)
        bury(worker.pid)
        worker.wire.end.close()
        self.workers.remove(worker)
        self.kills += 1
        if str(worker.site.row().get("lease_owner") or "").startswith(f"{worker.pid}-"):
            self.cut += 1
            self.sites[0].log_in(self.provider.log_in())
        self.start(worker.site)

    def stop_one(self) -> None:
        """Stop whoever renews, with its answer on the way, until its lease is over."""
        before = self.provider.seen().requests
        self.provider.hold(700)
        holder = self._holder(before)
        if holder is None:
            self.strange.append("nobody was seen renewing")
            return
        os.kill(holder.pid, signal.SIGSTOP)
        self.listen(time.monotonic() + STOPPED_S)
        os.kill(holder.pid, signal.SIGCONT)
        self.stops += 1

    def _holder(self, before: int) -> Worker | None:
        until = time.monotonic() + 3 * LIFE_S
        while time.monotonic() < until:
            row = self.sites[0].row()
            pid = str(row.get("lease_owner") or "-").split("-")[0]
            if row.get("state") == "refreshing" and self.provider.seen().requests > before:
                return next((worker for worker in self.workers if str(worker.pid) == pid), None)
            self.listen(time.monotonic() + 0.02)
        return None

    def end(self) -> None:
        for worker in self.workers:
            os.kill(worker.pid, signal.SIGKILL)
            bury(worker.pid)


def storm(provider: Provider, sites: Sequence[Site], seconds: int, random: Random) -> list[str]:
    """Bad weather for so long; what was wrong at its end."""
    begun = time.monotonic()
    before = provider.seen()
    sites[0].log_in(provider.log_in())
    run = Storm(provider, sites, random)
    try:
        for number in range(WORKERS * len(sites)):
            run.start(sites[number % len(sites)])
        stop_at = begun + CALM_S / 2
        while time.monotonic() < begun + seconds:
            run.listen(time.monotonic() + random.uniform(*KILL_EVERY_S))
            run.kill_one()
            if time.monotonic() > stop_at:
                run.stop_one()
                stop_at = time.monotonic() + CALM_S
            _progress(f"{time.monotonic() - begun:.0f} of {seconds} s", provider.seen(), run)
        run.listen(time.monotonic() + 2 * LIFE_S)
    finally:
        run.end()
    return _judged(run, before, provider.seen(), time.monotonic() - begun)


def _progress(when: str, seen: Seen, run: Storm) -> None:
    sys.stderr.write(
        f"  {when}: {seen.requests} token requests, {run.used['served']} calls served, {run.kills} killed, "
        f"{run.stops} stopped, {seen.revoked} grants ended\n"
    )


def _judged(run: Storm, before: Seen, seen: Seen, seconds: float) -> list[str]:
    requests, issued = seen.requests - before.requests, seen.issued - before.issued
    gaps = [
        after - first
        for first, after in zip(seen.at_ms[before.requests :], seen.at_ms[before.requests + 1 :], strict=False)
    ]
    row = run.sites[0].row()
    faults = list(run.strange)
    refused = len(seen.errors) - len(before.errors)
    if refused > run.cut or seen.revoked - before.revoked > run.cut:
        faults.append(f"{refused} token requests refused, {seen.revoked - before.revoked} grants ended, {run.cut} cut")
    if not run.cut:
        if requests != issued or int(row["generation"]) != issued:
            faults.append(f"{requests} requests, {issued} issued, generation {row['generation']}")
        if sum(gaps) + LIFE_S * 1_000 < EARLY_MS * requests:
            faults.append(f"{requests} token requests within {sum(gaps)} ms")
    if run.used["stale"] or (run.used["login_required"] > 0 and not run.cut):
        faults.append(f"calls: {dict(run.used)}")
    sys.stdout.write(
        f"{len(run.workers)} processes, {seconds:.0f} s, tokens of {LIFE_S} s: {requests} token requests for "
        f"{issued} tokens (generation {row['generation']}), {refused} refused, "
        f"{seen.revoked - before.revoked} grants lost; shortest pause {min(gaps, default=0)} ms; "
        f"calls {dict(run.used)}; {run.kills} killed ({run.cut} in a renewal), {run.stops} stopped past the lease\n"
    )
    return faults


def cuts(provider: Provider, site: Site, rounds: int, random: Random) -> list[str]:
    """Kill between the token request and the commit, so often; what was wrong."""
    told: Counter[str] = Counter()
    slowest, faults = 0, list[str]()
    for number in range(rounds):
        outcome, took_ms, fault = _cut(provider, site, random)
        told[outcome] += 1
        slowest = max(slowest, took_ms)
        faults += [f"cut {number}: {fault}"] if fault else []
        if number % 20 == 19:
            sys.stderr.write(f"  {number + 1} of {rounds} cuts, {len(faults)} faults, slowest told in {slowest} ms\n")
    sys.stdout.write(f"{rounds} cuts: {dict(told)}; told within {slowest} ms; {len(faults)} faults\n")
    return faults


def _cut(provider: Provider, site: Site, random: Random) -> tuple[str, int, str | None]:
    """One life: a login whose token is due or over, a killed renewal, and the next process."""
    is_over = random.random() < 0.5
    site.log_in(provider.log_in(), aged_s=LONG_LIFE_S + 60 if is_over else LONG_LIFE_S * 4 // 5)
    generation = int(site.row()["generation"])
    provider.hold(random.randrange(0, 40), when=random.choice(("before", "after")))
    before = provider.seen()
    pid, wire = bear(partial(ask, site, times=0))
    _until(lambda: provider.seen().requests > before.requests)
    time.sleep(random.uniform(0, 0.06))
    os.kill(pid, signal.SIGKILL)
    bury(pid)
    wire.end.close()
    requests = provider.seen().requests
    told = _told(site)
    more = provider.seen().requests - requests
    is_kept = int(site.row()["generation"]) > generation
    return _judged_cut(told, more=more, is_over=is_over, is_kept=is_kept)


def _told(site: Site) -> Said:
    """What a process says that starts now, and asks four times."""
    pid, wire = bear(partial(ask, site, times=3))
    heard: list[Said] | None = []
    while heard == []:
        heard = wire.hear()
    bury(pid)
    wire.end.close()
    if not heard:
        raise SystemExit("the next process ended without a word")
    return heard[0]


def _judged_cut(told: Said, *, more: int, is_over: bool, is_kept: bool) -> tuple[str, int, str | None]:
    said, state, took_ms = str(told["said"]), str(told["state"]), int(told["took_ms"])
    answers = {said, *told["again"]}
    wanted = {("token", "ready")} if is_kept else {("login_required", "needs_login")}
    if not is_kept and not is_over:
        wanted = {("token", "refresh_unknown")}
    outcome = f"{'over' if is_over else 'due'}: {state}"
    if (said, state) not in wanted or len(answers) != 1:
        return outcome, took_ms, f"{outcome}, kept {is_kept}, said {answers}"
    if more > (1 if is_over else 0) or took_ms > TOLD_MS:
        return outcome, took_ms, f"{outcome}, {more} more requests, told after {took_ms} ms"
    return outcome, took_ms, None


def _until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit("the renewal never began")


def main() -> int:
    options = _options()
    random, faults = Random(options.seed), list[str]()  # noqa: S311 - a draw, no secret
    with tempfile.TemporaryDirectory(prefix="seikyu-storm-") as folder:
        if options.seconds:
            count = SITES[options.store]
            with running_provider(LIFE_S) as provider, databases(options.store, 1) as urls:
                sites = make_sites(Path(folder) / "storm", provider, [urls[0]] * count)
                faults += storm(provider, sites, options.seconds, random)
        if options.cuts:
            with running_provider(LONG_LIFE_S) as provider, databases(options.store, 1) as urls:
                (site,) = make_sites(Path(folder) / "cuts", provider, urls)
                faults += cuts(provider, site, options.cuts, random)
    for fault in faults:
        sys.stdout.write(f"FAULT {fault}\n")
    return 1 if faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=120, help="how long the storm lasts")
    parser.add_argument("--cuts", type=int, default=200, help="how many renewals are killed in the middle")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=STORES, default="sqlite")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
