"""Every target on inputs that are made anew, and on those that it once fell over.

`make test` makes the same few inputs each time; `make fuzz` many, other ones each time (FUZZ_EXAMPLES).
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.inputs import damaged
from tests.fuzz.readers import TARGETS as READERS
from tests.fuzz.services import TARGETS as SERVICES

TARGETS = {**READERS, **SERVICES}
REGRESSIONS = Path(__file__).with_name("regressions")
_SHORT = 1000  # examples of the cheapest targets
_LONG = 200  # for each of FUZZ_EXAMPLES


def _examples(cost: int) -> int:
    long = os.environ.get("FUZZ_EXAMPLES")
    return max((int(long) * _LONG if long else _SHORT) // cost, 5)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_damaged(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=_examples(target.cost),
        deadline=None,
        database=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(damaged(target.seeds))
    def one(content: bytes) -> None:
        target.run(content)

    one()


@pytest.mark.parametrize("input_", sorted(REGRESSIONS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_once_too_much(input_: Path) -> None:
    TARGETS[input_.parent.name].run(input_.read_bytes())


def test_every_regression_has_a_target() -> None:
    assert {folder.name for folder in REGRESSIONS.iterdir()} <= TARGETS.keys()
