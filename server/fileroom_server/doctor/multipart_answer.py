"""Multipart answers read as strictly as the viewers read them, each remembering what it would stumble over."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .findings import Fault, Severity, Unusable
from .prober import Answer

_LONGEST_HEAD = 1000  # the JavaScript dicomweb-client looks no further for the end of the part headers
_BOUNDARY = re.compile(r';\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)
_TRANSFER_SYNTAX = re.compile(r'transfer-syntax\s*=\s*"?([0-9.*]+)"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """Header lines as they stand, and the content."""

    lines: tuple[str, ...]
    content: bytes

    @property
    def content_type(self) -> str | None:
        """The value of Content-Type, however it is spelled."""
        for line in self.lines:
            name, _, value = line.partition(":")
            if name.strip().lower() == "content-type":
                return value.strip()
        return None

    @property
    def transfer_syntax_uid(self) -> str | None:
        match = _TRANSFER_SYNTAX.search(self.content_type or "")
        return match[1] if match else None


def parts_of(answer: Answer) -> list[Part]:
    """The parts of a multipart answer; the last may be cut off where reading stopped. Raises Unusable."""
    match = _BOUNDARY.search(answer.content_type)
    if match is None:
        raise Unusable(
            Fault(
                "multipart-boundary",
                "the Content-Type of the multipart answer names no boundary",
                'Send `Content-Type: multipart/related; type="…"; boundary=…` (RFC 2046 5.1.1).',
            )
        )
    delimiter = b"--" + (match[1] or match[2]).encode("latin-1", "replace")
    return list(_split(answer, delimiter))


def _split(answer: Answer, delimiter: bytes) -> Iterator[Part]:
    body = answer.body
    start = body.find(delimiter)
    if start < 0:
        raise Unusable(
            Fault(
                "multipart-boundary",
                "the boundary that the Content-Type names is not in the body",
                "Use one boundary for the header and the body.",
            )
        )
    while not body.startswith(b"--", start + len(delimiter)):
        start += len(delimiter)
        head_end = body.find(b"\r\n\r\n", start, start + _LONGEST_HEAD)
        if head_end < 0:
            raise Unusable(_head_fault(body[start : start + _LONGEST_HEAD]))
        end = body.find(b"\r\n" + delimiter, head_end + 2)
        content = body[head_end + 4 : end if end >= 0 else None]
        lines = body[start:head_end].decode("latin-1").split("\r\n")
        yield Part(tuple(line for line in lines if line), content)
        if end < 0:
            if answer.is_whole:
                raise Unusable(
                    Fault(
                        "multipart-end",
                        "the multipart body ends without its closing boundary",
                        "End the body with `--boundary--`; look in the log whether the server broke off.",
                    )
                )
            return
        start = end + 2


def _head_fault(head: bytes) -> Fault:
    if b"\n\n" in head:
        return Fault(
            "multipart-line-ends",
            "the headers of a part end in LF, not in CR LF",
            "Write CR LF between the lines of multipart messages (RFC 2046 4.1.1).",
        )
    return Fault(
        "multipart-head",
        "a part has no empty line after its headers",
        "Write CR LF CR LF between the headers of a part and its content.",
    )


def head_faults(part: Part) -> Iterator[Fault]:
    """What viewers miss in the headers of a part."""
    if not any(line.startswith("Content-Type:") for line in part.lines):
        what = "is spelled otherwise" if part.content_type is not None else "is missing"
        yield Fault(
            "part-content-type",
            f"the line `Content-Type:` in the headers of a part {what}",
            "Write exactly `Content-Type: …` in each part: cornerstone compares these letters, and takes the frame for "
            "implicit little endian where it does not find them.",
        )
    elif not part.lines[0].startswith("Content-Type:"):
        yield Fault(
            "part-header-order",
            "Content-Type is not the first header of a part",
            "Write it first; there are viewers that look for it only there.",
            Severity.LIMITED,
            "Some viewers do not learn the transfer syntax of the frame.",
        )
