"""An SCU that holds no object: it sends a data set while that is made, and counts the bytes of what it gets."""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from fileroom_server.command_set import (
    C_STORE_RQ,
    COMMAND_FIELD,
    DATA_SET_PRESENT,
    DATA_SET_TYPE,
    MESSAGE_ID,
    NO_DATA_SET,
    decode_command_set,
    encode_command_set,
    number,
    text,
)

STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_C_GET_RQ, _C_GET_RSP, _C_STORE_RSP = 0x0010, 0x8010, 0x8001
_PDU_HEAD = struct.Struct(">BxI")
_VALUE_HEAD = struct.Struct(">IBB")
_PENDING = 0xFF00
_SECONDS = 600.0

Context = tuple[str, str]  # abstract syntax, transfer syntax


class StreamingScu:
    """An association that is open from the start. Raises where it, or one of its contexts, is not accepted."""

    def __init__(self, port: int, contexts: Sequence[Context], *, gets: Sequence[str] = ()) -> None:
        """`gets`: the SOP Classes whose objects a C-GET may bring."""
        self._socket = socket.create_connection(("127.0.0.1", port), _SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._contexts = {abstract: 2 * index + 1 for index, (abstract, _) in enumerate(contexts)}
        self._message_id = 0
        self._send(0x01, associate_request(contexts, gets))
        kind, accepted = self._read()
        if kind != 0x02:
            raise ConnectionError(f"the association was not accepted: PDU type {kind}")
        self._longest = _maximum_length(accepted)

    def store(self, sop_class_uid: str, sop_instance_uid: str, data_set: Iterable[bytes]) -> int:
        """The status of a C-STORE."""
        context_id, command = self._contexts[sop_class_uid], self._request(sop_class_uid, C_STORE_RQ)
        self._send_value(
            context_id, 0x03, encode_command_set({**command, 0x0700: 0, **_present(), 0x1000: sop_instance_uid})
        )
        for last, fragment in _marked(_cut(data_set, self._longest - 6)):
            self._send_value(context_id, 0x02 if last else 0x00, fragment)
        _, response = self._read_command()
        return number(response, 0x0900) or 0

    def echo(self) -> int:
        command = {**self._request(VERIFICATION, 0x0030), DATA_SET_TYPE: NO_DATA_SET}
        self._send_value(self._contexts[VERIFICATION], 0x03, encode_command_set(command))
        return number(self._read_command()[1], 0x0900) or 0

    def get(self, study_instance_uid: str) -> int:
        """How many bytes of data sets a C-GET of this study brings; its context has to be implicit VR little endian."""
        context_id, command = self._contexts[STUDY_ROOT_GET], self._request(STUDY_ROOT_GET, _C_GET_RQ)
        identifier = _element(0x0008, 0x0052, b"STUDY ") + _element(0x0020, 0x000D, _padded(study_instance_uid))
        self._send_value(context_id, 0x03, encode_command_set({**command, 0x0700: 0, **_present()}))
        self._send_value(context_id, 0x02, identifier)
        received = 0
        while True:
            sub_operation, elements = self._read_command()
            if number(elements, COMMAND_FIELD) == C_STORE_RQ:
                received += self._read_data_set()
                self._send_value(sub_operation, 0x03, _stored(elements))
                continue
            status = number(elements, 0x0900)
            if number(elements, DATA_SET_TYPE) != NO_DATA_SET:
                self._read_data_set()
            if status != _PENDING:
                if status:
                    raise ConnectionError(f"the C-GET was answered with 0x{status:04X}")
                return received

    def release(self) -> None:
        self._send(0x05, bytes(4))
        kind, _ = self._read()
        if kind != 0x06:
            raise ConnectionError(f"the release was answered by a PDU of type {kind}")
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        self.close()

    def _request(self, sop_class_uid: str, command_field: int) -> dict[int, int | str | tuple[int, ...]]:
        self._message_id = self._message_id % 0xFFFF + 1
        return {0x0002: sop_class_uid, COMMAND_FIELD: command_field, MESSAGE_ID: self._message_id}

    def _send(self, kind: int, content: bytes) -> None:
        self._socket.sendall(_PDU_HEAD.pack(kind, len(content)) + content)

    def _send_value(self, context_id: int, control_header: int, value: bytes) -> None:
        self._send(0x04, _VALUE_HEAD.pack(len(value) + 2, context_id, control_header) + value)

    def _read(self) -> tuple[int, bytes]:
        kind, length = _PDU_HEAD.unpack(self._receive(_PDU_HEAD.size))
        return kind, self._receive(length)

    def _receive(self, length: int) -> bytes:
        received = bytearray(length)
        view = memoryview(received)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise ConnectionError("the server closed the connection")
            view = view[count:]
        return bytes(received)

    def _read_values(self) -> Iterator[tuple[int, int, bytes]]:
        """The presentation data values of the next PDU: context, control header, fragment."""
        kind, content = self._read()
        if kind != 0x04:
            raise ConnectionError(f"a PDU of type {kind} came")
        offset = 0
        while offset < len(content):
            length, context_id, control_header = _VALUE_HEAD.unpack_from(content, offset)
            yield context_id, control_header, content[offset + 6 : offset + 4 + length]
            offset += 4 + length

    def _read_command(self) -> tuple[int, dict[int, bytes]]:
        """One that fits in a PDU of its own, as all of fileroom's do."""
        [(context_id, control_header, command)] = self._read_values()
        if control_header != 0x03:
            raise ConnectionError(f"a command was to come, not 0x{control_header:02X}")
        return context_id, decode_command_set(command)

    def _read_data_set(self) -> int:
        length = 0
        while True:
            for _, control_header, fragment in self._read_values():
                length += len(fragment)
                if control_header == 0x02:
                    return length


def _present() -> dict[int, int | str | tuple[int, ...]]:
    return {DATA_SET_TYPE: DATA_SET_PRESENT}


def _stored(request: dict[int, bytes]) -> bytes:
    response: dict[int, int | str | tuple[int, ...]] = {
        0x0002: text(request, 0x0002) or "",
        COMMAND_FIELD: _C_STORE_RSP,
    }
    response |= {0x0120: number(request, MESSAGE_ID) or 0, DATA_SET_TYPE: NO_DATA_SET, 0x0900: 0}
    return encode_command_set({**response, 0x1000: text(request, 0x1000) or ""})


def _cut(chunks: Iterable[bytes], length: int) -> Iterator[bytes]:
    """The same bytes in pieces that are as long as they may be, or as they come."""
    for chunk in chunks:
        for start in range(0, len(chunk), length):
            yield chunk[start : start + length]


def _marked(fragments: Iterable[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Each fragment, with whether it is the last."""
    held: bytes | None = None
    for fragment in fragments:
        if held is not None:
            yield False, held
        held = fragment
    yield True, held or b""


def _padded(uid: str) -> bytes:
    return uid.encode("ascii") + b"\0" * (len(uid) % 2)


def _element(group: int, element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", group, element, len(value)) + value


def _item(kind: int, content: bytes) -> bytes:
    # PS3.8 9.3.2
    return struct.pack(">BxH", kind, len(content)) + content


def associate_request(contexts: Sequence[Context], gets: Sequence[str] = ()) -> bytes:
    """What follows the head of an A-ASSOCIATE-RQ PDU."""
    titles = b"FILEROOM".ljust(16) + b"STREAMING".ljust(16)
    items = [_item(0x10, _APPLICATION_CONTEXT.encode())]
    for index, (abstract, transfer) in enumerate(contexts):
        syntaxes = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
        items.append(_item(0x20, struct.pack(">Bxxx", 2 * index + 1) + syntaxes))
    user_information = _item(0x51, struct.pack(">I", 1 << 18)) + _item(0x52, b"1.2.826.0.1.3680043.10.1.9")
    for sop_class in gets:
        # PS3.7 D.3.3.4: of these objects we are the SCP
        user_information += _item(0x54, struct.pack(">H", len(sop_class)) + sop_class.encode() + b"\x00\x01")
    return b"\x00\x01\x00\x00" + titles + bytes(32) + b"".join(items) + _item(0x50, user_information)


def _maximum_length(accepted: bytes) -> int:
    """PS3.8 D.1.1; raises where a context was not accepted."""
    longest, offset = 1 << 14, 68
    while offset < len(accepted):
        kind, length = struct.unpack_from(">BxH", accepted, offset)
        content = accepted[offset + 4 : offset + 4 + length]
        if kind == 0x21 and content[2]:
            raise ConnectionError(f"context {content[0]} was refused with {content[2]}")
        if kind == 0x50 and content[0] == 0x51:
            longest = struct.unpack_from(">I", content, 4)[0] or longest
        offset += 4 + length
    return longest
