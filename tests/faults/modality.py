"""A modality within a test: sends one object after the other, and looks at what it is answered."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests

from tests.faults.objects import Place
from tests.faults.promises import assert_clean_but_young, assert_counts_exact, assert_kept
from tests.faults.sender import OUT_OF_RESOURCES, Stores
from tests.faults.service import ManagedServer

_studies = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    outcome: str
    seconds: float

    @property
    def is_success(self) -> bool:
        return self.outcome == "stored"

    @property
    def is_out_of_resources(self) -> bool:
        return self.outcome == f"refused {OUT_OF_RESOURCES:04X}"


class Modality:
    """Has one study, and remembers what of it was acknowledged."""

    def __init__(self, server: ManagedServer, root: str = "901") -> None:
        self._server = server
        self._stores = Stores(server.dicom_port)
        self._study = next(_studies)
        self._root = root
        self._number = 0
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()

    @property
    def study_instance_uid(self) -> str:
        return self.place(1).study_instance_uid

    def place(self, number: int) -> Place:
        return Place(self._root, self._study, 1, number)

    def send(self, number: int | None = None) -> Answer:
        """A new object, or one by its number."""
        if number is None:
            self._number += 1
            number = self._number
        place = self.place(number)
        self.sent.add(place.sop_instance_uid)
        begun = time.monotonic()
        outcome = self._stores.send(place)
        if outcome == "stored":
            self.acknowledged.add(place.sop_instance_uid)
        return Answer(outcome, time.monotonic() - begun)

    def send_again(self) -> Answer:
        """What was sent last."""
        return self.send(self._number)

    def search(self) -> int:
        """The status of a search for the study's instances; where it is a success, all acknowledged are found."""
        answer = requests.get(
            f"{self._server.dicomweb}/studies/{self.study_instance_uid}/instances?limit=1000", timeout=120
        )
        if answer.status_code == 200:
            found = {item["00080018"]["Value"][0] for item in answer.json()}
            assert self.acknowledged <= found <= self.sent
        return answer.status_code

    def assert_kept(self) -> None:
        assert_kept(self._server, self.acknowledged, lambda: self.sent)

    def close(self) -> None:
        self._stores.close()


@contextmanager
def modality(server: ManagedServer) -> Iterator[Modality]:
    """In the end all that it was told is stored is there, counts are exact, and nothing else is left."""
    one = Modality(server)
    try:
        yield one
        one.assert_kept()
        assert_counts_exact(server.database_url)
        assert_clean_but_young(server)
        assert "Traceback" not in server.output
    finally:
        one.close()
