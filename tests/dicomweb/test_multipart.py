"""The multipart reader on whole, broken and hostile messages, in pieces of any size; the writer against a parser."""

import email
import email.policy
from collections.abc import Iterator

import pytest

from fileroom_dicomweb.multipart import (
    OutgoingPart,
    content_length,
    content_type,
    message,
    new_boundary,
    whole_part,
)
from fileroom_dicomweb.multipart_reader import BrokenMultipart, MultipartReader
from fileroom_dicomweb.stored_answer import StoredAnswer

BOUNDARY = "----=_Part_7"
# what looks like a boundary, but is not
CONTENT = b"a\r\n--\r\n------=_Part_\r\n\r\n------=_Par" + bytes(range(256)) + b"\r\n"


def chunks(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def read(body: bytes, size: int = 7, boundary: str = BOUNDARY) -> list[tuple[dict[str, str], bytes]]:
    return [(dict(part.headers), b"".join(part.content)) for part in MultipartReader(chunks(body, size), boundary)]


def line(text: str) -> bytes:
    return text.encode() + b"\r\n"


DELIMITER = line(f"--{BOUNDARY}")
CLOSING = line(f"--{BOUNDARY}--")
HEADER = line("Content-Type: application/dicom") + b"\r\n"
WHOLE = DELIMITER + HEADER + CONTENT + b"\r\n" + DELIMITER + b"\r\n" + b"second\r\n" + CLOSING
PARTS = [({"content-type": "application/dicom"}, CONTENT), ({}, b"second")]


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 64, 1000, 100_000])
def test_parts_are_the_same_in_chunks_of_any_size(size: int) -> None:
    assert read(WHOLE, size) == PARTS


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\r\n", b""),
        (b"\r\n\r\n", b""),
        (b"This is a message with several parts.\r\n", b"epilogue"),
        (b"preamble -- with --\r\n--other boundary\r\n", b"\r\n\r\n"),
    ],
)
def test_preamble_and_epilogue_are_ignored(before: bytes, after: bytes, size: int) -> None:
    assert read(before + WHOLE + after, size) == PARTS


def test_headers_of_any_case_and_number() -> None:
    head = (
        line("content-TYPE:application/dicom;transfer-syntax=1.2")
        + line("Content-Location: /x")
        + line("MIME-Version:  1.0")
    )
    body = DELIMITER + head + b"\r\nx\r\n" + CLOSING
    assert read(body) == [
        (
            {"content-type": "application/dicom;transfer-syntax=1.2", "content-location": "/x", "mime-version": "1.0"},
            b"x",
        )
    ]


def test_padding_after_a_boundary_is_ignored() -> None:
    body = line(f"--{BOUNDARY}") + HEADER + b"1\r\n" + line(f"--{BOUNDARY}  ") + HEADER + b"2\r\n" + CLOSING
    assert [content for _, content in read(body, 1000)] == [b"1", b"2"]


def test_an_unread_part_is_passed_over() -> None:
    reader = MultipartReader(chunks(WHOLE, 16), BOUNDARY)
    assert [dict(part.headers) for part in reader] == [headers for headers, _ in PARTS]


def test_a_message_without_parts() -> None:
    assert read(CLOSING) == []
    assert read(line(f"--{BOUNDARY}x") + HEADER + b"x\r\n" + CLOSING) == []


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_bare_line_feeds(size: int) -> None:
    content = b"a\r\nb\r--" + BOUNDARY.encode() + b"\r"
    delimiter = f"--{BOUNDARY}".encode()
    head = b"\nContent-Type: application/dicom;\n\ttransfer-syntax=1.2\n\n"
    body = b"preamble\n" + delimiter + head + content + b"\n" + delimiter + b"\n\nsecond\n" + delimiter + b"--\n"
    assert read(body, size) == [({"content-type": "application/dicom; transfer-syntax=1.2"}, content), ({}, b"second")]


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("head", [b"", HEADER.removesuffix(b"\r\n")])
def test_empty_parts(head: bytes, size: int) -> None:
    headers = {"content-type": "application/dicom"} if head else {}
    assert read(DELIMITER + head + b"\r\n" + CLOSING, size) == [(headers, b"")]
    assert read(DELIMITER + head + b"\r\n\r\n" + CLOSING, size) == [(headers, b"")]


@pytest.mark.parametrize("boundary", ["a b", "=_'()+,-./:?", "--", "x" * 70, "ä"])
def test_boundaries(boundary: str) -> None:
    line = b"--" + boundary.encode("latin-1")
    body = b"\r\n" + line + b"\r\n\r\n1\r\n" + line + b"\r\n\r\n2\r\n" + line + b"--"
    assert [content for _, content in read(body, 5, boundary)] == [b"1", b"2"]


def test_a_longer_line_is_content() -> None:
    inner = line("") + line(f"--{BOUNDARY}-inner") + b"x" + b"\r\n--" + BOUNDARY.encode() + b"y"
    assert read(DELIMITER + b"\r\n" + inner + b"\r\n" + CLOSING, 3) == [({}, inner)]


@pytest.mark.parametrize("size", [1, 64, 100_000])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        WHOLE[: -len(CLOSING)],
        WHOLE[:-5],
        WHOLE[:100],
        DELIMITER,
        DELIMITER + HEADER,
        DELIMITER + line("no colon here") + b"\r\nx\r\n" + CLOSING,
        DELIMITER + b"Content-Type: " + b"x" * 100_000 + b"\r\n\r\nx\r\n" + CLOSING,
        DELIMITER + line("A: b") * 1000 + b"\r\nx\r\n" + CLOSING,
        DELIMITER + HEADER + b"x\r\n" + line(f"--{BOUNDARY}x") + b"--" + BOUNDARY.encode(),
    ],
    ids=range(11),
)
def test_broken(body: bytes, size: int) -> None:
    with pytest.raises(BrokenMultipart):
        read(body, size)


def test_a_boundary_that_never_comes_is_noticed_early() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(1024)

    with pytest.raises(BrokenMultipart, match="does not begin with the boundary"):
        list(MultipartReader(endless(), BOUNDARY))
    assert taken < 100


def test_an_unusable_boundary() -> None:
    with pytest.raises(BrokenMultipart, match="boundary"):
        MultipartReader([], "x" * 1000)


def test_what_came_whole_before_the_break_is_given_out() -> None:
    parts = iter(MultipartReader(chunks(WHOLE[:-20], 50), BOUNDARY))
    assert b"".join(next(parts).content) == CONTENT
    second = next(parts)
    with pytest.raises(BrokenMultipart):
        list(second.content)


def test_the_written_message_is_multipart_and_as_long_as_announced() -> None:
    boundary = new_boundary()
    parts = [
        whole_part("application/dicom; transfer-syntax=1.2.840.10008.1.2.1", CONTENT),
        whole_part("image/jls", b""),
    ]
    body = b"".join(StoredAnswer(message(parts, boundary)))
    assert len(body) == content_length(parts)

    header = f"Content-Type: {content_type('application/dicom', boundary)}\r\n\r\n".encode()
    parsed = email.message_from_bytes(header + body, policy=email.policy.HTTP)
    assert parsed.get_content_type() == "multipart/related"
    assert parsed.get_param("type") == "application/dicom"
    assert not parsed.defects
    assert [part.get_content_type() for part in parsed.iter_parts()] == ["application/dicom", "image/jls"]
    assert read(body, 11, boundary) == [
        ({"content-type": "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}, CONTENT),
        ({"content-type": "image/jls"}, b""),
    ]


def test_no_length_where_a_part_has_none() -> None:
    part = whole_part("image/jls", b"x")
    assert content_length([part, OutgoingPart("image/jls", part.content)]) is None
