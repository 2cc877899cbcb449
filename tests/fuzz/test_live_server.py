"""Bytes at the ports of a running server, over real connections: it goes on serving, and says nothing unexpected."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds
from tests.fuzz.inputs import damaged
from tests.made import CT_IMAGE_STORAGE
from tests.served import Served
from tests.server.dimse.pdus import find_command, p_data, store_command
from tests.server.dimse.scu import STUDY_ROOT_FIND, VERIFICATION, associated

EXAMPLES = 20 * int(os.environ["FUZZ_EXAMPLES"]) if "FUZZ_EXAMPLES" in os.environ else 60
_SECONDS = 30.0
_CONTEXT_NAME = b"1.2.840.10008.3.1.1.1"
_IMPLICIT = seeds.IMPLICIT.encode()


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def associate_request() -> bytes:
    """PS3.8 9.3.2: presentation context 1 for CT images, 3 for queries."""
    contexts = b"".join(
        _item(0x20, bytes((number, 0, 0, 0)) + _item(0x30, syntax.encode()) + _item(0x40, _IMPLICIT))
        for number, syntax in ((1, CT_IMAGE_STORAGE), (3, STUDY_ROOT_FIND))
    )
    user = _item(0x50, _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.3") + _item(0x55, b"FUZZ"))
    fixed = struct.pack(">HH16s16s32x", 1, 0, b"FILEROOM".ljust(16), b"FUZZ".ljust(16))
    content = fixed + _item(0x10, _CONTEXT_NAME) + contexts + user
    return struct.pack(">BxI", 0x01, len(content)) + content


RELEASE = struct.pack(">BxI4x", 0x05, 4)
FIND = p_data(0x03, find_command(), 3) + p_data(0x02, b"\x08\x00\x52\x00\x06\x00\x00\x00STUDY ", 3)
STORE = p_data(0x03, store_command()) + p_data(0x02, seeds.DATA_SETS[seeds.IMPLICIT][0])
CONVERSATIONS = (
    associate_request() + RELEASE,
    associate_request() + FIND + RELEASE,
    associate_request() + STORE + FIND,
    associate_request() + p_data(0x01, store_command()[:20]) + p_data(0x03, store_command()[20:]) + STORE[-300:],
)
_HOST = b"Host: localhost\r\nConnection: close\r\n"
_LENGTH = b"Content-Length: %d\r\n\r\n" % len(seeds.FILES[0])
REQUESTS = (
    b"GET /dicom-web/studies?PatientName=A*&limit=3 HTTP/1.1\r\n" + _HOST + b"Accept: application/dicom+json\r\n\r\n",
    b"POST /dicom-web/studies HTTP/1.1\r\nContent-Type: application/dicom\r\n" + _HOST + _LENGTH + seeds.FILES[0],
    b"POST /dicom-web/studies HTTP/1.1\r\nContent-Type: application/dicom\r\nTransfer-Encoding: chunked\r\n"
    + _HOST
    + b"\r\n10\r\n0123456789abcdef\r\n3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
    b"GET /viewer/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + _HOST + b"Range: bytes=0-1\r\nForwarded: for=x\r\n\r\n",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("fuzz") / "data") as served:
        yield served


def converse(port: int, content: bytes) -> bytes:
    """What comes back until the server ends the connection, which it has to."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
    return received


def check(served: Served, before: dict[int, int], said: int) -> None:
    """The same processes serve, have not grown, and have not met what they did not expect."""
    with associated(served.dicom_port, VERIFICATION) as association:
        assert association.send_c_echo().Status == 0x0000
    assert requests.get(f"{served.dicomweb}/studies", timeout=_SECONDS).ok
    after = served.peak_memory()
    assert after.keys() >= before.keys()
    assert all(after[process] - before[process] < 200 << 20 for process in before)
    output = served.output[said:]
    assert "Traceback" not in output, output
    assert "unexpected" not in output, output
    assert "internal error" not in output, output


def run(served: Served, port: int, conversations: tuple[bytes, ...]) -> None:
    for conversation in conversations:
        assert converse(port, conversation)
    before, said = served.peak_memory(), len(served.output)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(st.one_of(damaged(conversations), damaged(conversations[1:])))
    def one(content: bytes) -> None:
        answer = converse(port, content)
        assert b"Traceback" not in answer
        assert not answer.startswith(b"HTTP/1.1 500"), answer

    one()
    check(served, before, said)


def test_pdus(served: Served) -> None:
    run(served, served.dicom_port, CONVERSATIONS)


def test_http(served: Served) -> None:
    run(served, served.http_port, REQUESTS)
