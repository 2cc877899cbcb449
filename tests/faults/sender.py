"""A modality as a process of its own: sends until it is told to stop, and writes down what was acknowledged.

Its log has a line for each thing that happens: `sent UID`, `stored UID`, `refused UID STATUS`, `lost UID ERROR` for a
connection that broke, `wrong UID STATUS` for an answer that no modality should get; each with the seconds it took.
"""

import argparse
import http.client
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from tests.faults.objects import EXPLICIT, Place, data_set, part10
from tests.made import CT_IMAGE_STORAGE
from tests.streaming_scu import StreamingScu

OUT_OF_RESOURCES = 0xA700
_TRY_AGAIN_HTTP = (503, 507)
_PAUSE_AFTER_FAILURE = 0.1
_AGAIN_ONE_IN = 10  # what was acknowledged is sent once more, as some modalities do
_BOUNDARY = "a-boundary-of-the-fault-tests"

Send = Callable[[Place], str]  # "stored", "refused STATUS", "wrong STATUS"; raises OSError


class Stores:
    """C-STORE over one association, which is opened anew where it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._scu: StreamingScu | None = None

    def send(self, place: Place) -> str:
        if self._scu is None:
            self._scu = StreamingScu(self._port, [(CT_IMAGE_STORAGE, EXPLICIT)])
        try:
            status = self._scu.store(CT_IMAGE_STORAGE, place.sop_instance_uid, [data_set(place)])
        except (OSError, ValueError):  # the connection broke, or the answer to something else came
            self._scu.close()
            self._scu = None
            raise
        if status == 0:
            return "stored"
        return f"{'refused' if status == OUT_OF_RESOURCES else 'wrong'} {status:04X}"

    def close(self) -> None:
        if self._scu is not None:
            self._scu.close()
            self._scu = None


class Posts:
    """STOW-RS over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def send(self, place: Place) -> str:
        body = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + part10(place)
        body += f"\r\n--{_BOUNDARY}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        try:
            headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
            self._connection.request("POST", "/dicom-web/studies", body, headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ConnectionError(f"{type(error).__name__} {error}") from error
        if answer.status == 200:
            return "stored"
        return f"{'refused' if answer.status in _TRY_AGAIN_HTTP else 'wrong'} {answer.status}"


def places(root: str, chance: random.Random) -> Iterator[Place]:
    """Studies one after the other, series by series."""
    study = 0
    while True:
        study += 1
        for series in range(1, chance.randrange(1, 4) + 1):
            for instance in range(1, chance.randrange(2, 9) + 1):
                yield Place(root, study, series, instance)


def run(send: Send, root: str, log: Path, pause: float, stop: Callable[[], bool]) -> None:
    chance = random.Random(root)
    acknowledged: list[Place] = []
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(*words: object) -> None:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())

    for place in places(root, chance):
        again = chance.choice(acknowledged) if acknowledged and not chance.randrange(_AGAIN_ONE_IN) else None
        for one in (place, again):
            if one is None:
                continue
            uid = one.sop_instance_uid
            outcome = ""
            while outcome != "stored":
                if stop():
                    return
                tell("sent", uid)
                begun = time.monotonic()
                try:
                    outcome = send(one)
                except OSError as error:
                    outcome = f"lost {re.sub(r'[^ -~]+', ' ', str(error))}"
                took = f"{time.monotonic() - begun:.3f}"
                word, _, rest = outcome.partition(" ")
                tell(word, uid, took, rest)
                time.sleep(pause if outcome == "stored" else _PAUSE_AFTER_FAILURE)
        acknowledged.append(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", choices=("c-store", "stow"))
    parser.add_argument("port", type=int)
    parser.add_argument("root")
    parser.add_argument("log", type=Path)
    parser.add_argument("--pause", type=float, default=0.01)
    arguments = parser.parse_args()
    stopped: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.append(number)

    signal.signal(signal.SIGTERM, stop)
    service = Stores if arguments.service == "c-store" else Posts
    run(service(arguments.port).send, arguments.root, arguments.log, arguments.pause, lambda: bool(stopped))


if __name__ == "__main__":
    main()
