"""`kill -9` of any process at any moment, while modalities send: nothing acknowledged is lost, nothing is half there.

FAULT_ROUNDS is the number of rounds on all databases together; FAULT_SEED repeats a run; FAULT_REPORT names a file that
gets a line of JSON for each database.
"""

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.databases import DATABASES, PrivateServer
from tests.faults.durable_databases import durable_database
from tests.faults.promises import assert_clean, assert_counts_exact, assert_kept, by_study, check, conflicts, make_old
from tests.faults.senders import Senders
from tests.faults.service import ManagedServer, wait_until

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "20"))
SEED = int(os.environ.get("FAULT_SEED", "0")) or random.randrange(1, 1 << 31)
REPORT = os.environ.get("FAULT_REPORT")

_LONGEST_ANSWER = 60.0  # seconds: within the patience of modalities
_LONGEST_PAUSE = 0.6
_VICTIMS = ("receiver", "http", "worker", "supervisor")


def rounds_of(kind: str) -> int:
    return (ROUNDS + DATABASES.index(kind)) // len(DATABASES)


def victims(kind: str, chance: random.Random, number: int) -> list[str]:
    """Each role about as often as any other, in no order."""
    roles = [*_VICTIMS, *(["database"] if kind != "sqlite" else [])]
    chosen = [roles[index % len(roles)] for index in range(number)]
    chance.shuffle(chosen)
    return chosen


def strike(victim: str, server: ManagedServer, database: PrivateServer | None, chance: random.Random) -> None:
    if victim == "database":
        assert database is not None
        database.kill()
        database.start_again()
        return
    there: list[int] = wait_until(lambda: server.pids(victim), f"there is no {victim}")
    server.kill(chance.choice(there))


def agree(server: ManagedServer) -> bool:
    found = check(server)
    return found["good"] is True and not found["young"]


@pytest.mark.timeout(0 if ROUNDS > 20 else 300)
@pytest.mark.parametrize("kind", DATABASES)
def test_kill_9(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(SEED + DATABASES.index(kind))
    rounds = rounds_of(kind)
    killed: Counter[str] = Counter()
    with durable_database(kind, tmp_path) as (database, url):
        server = ManagedServer(tmp_path / "data", tmp_path / "serve.log", database=url)
        with server, Senders(server, tmp_path / "senders") as senders:
            senders.wait_for_progress()
            verified: set[str] = set()
            for number, victim in enumerate(victims(kind, chance, rounds), 1):
                pause = chance.uniform(0, _LONGEST_PAUSE)
                with capsys.disabled():
                    print(f"\n{kind}, seed {SEED}, round {number} of {rounds}: {victim} after {pause:.3f} s", end=" ")
                time.sleep(pause)
                strike(victim, server, database, chance)
                killed[victim] += 1
                server.wait_until_ready()
                senders.wait_for_progress()
                acknowledged = senders.acknowledged()
                touched = by_study(acknowledged - verified).keys()
                of_touched = {uid for study, uids in by_study(acknowledged).items() if study in touched for uid in uids}
                assert_kept(server, of_touched, senders.sent)
                verified = acknowledged
                assert_counts_exact(url)
            senders.stop()
            senders.assert_no_wrong_answer(_LONGEST_ANSWER)
            acknowledged = senders.acknowledged()
            assert_kept(server, acknowledged, senders.sent)
            rows = assert_counts_exact(url)
        left_behind = make_old(server.data) - rows
        with server:
            # what was on its way when a process died is adopted or removed at the start
            wait_until(lambda: agree(server), lambda: f"what a crash left is not taken care of: {check(server)}")
            assert_clean(server)
            assert_kept(server, acknowledged, senders.sent)
            assert_counts_exact(url)
        assert conflicts(url) == 0  # what was sent again was the same
        assert "Traceback" not in server.output
    outcome = {
        "database": kind,
        "seed": SEED,
        "rounds": rounds,
        "killed": dict(killed),
        "acknowledgements": sum(log.acknowledgements for log in senders.logs),
        "objects acknowledged": len(acknowledged),
        "connections lost": sum(log.outcomes["lost"] for log in senders.logs),
        "answers to try again": sum(log.outcomes["refused"] for log in senders.logs),
        "slowest answer in seconds": max(log.slowest for log in senders.logs),
        "files without a row at the end": left_behind,
        "lost": 0,
    }
    with capsys.disabled():
        print(f"\n{json.dumps(outcome)}")
    if REPORT:
        with Path(REPORT).open("a") as report:
            report.write(json.dumps(outcome) + "\n")
