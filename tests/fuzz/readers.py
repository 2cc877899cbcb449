"""Targets that read bytes alone: data sets, files, messages, metadata, headers of requests."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson

from fileroom_dicomweb.content_coding import decoded
from fileroom_dicomweb.forwarded import forwarded
from fileroom_dicomweb.media_types import JSON_OFFERS, Offer, accept_ranges, choose, media_type
from fileroom_dicomweb.multipart_reader import BrokenMultipart, MultipartReader
from fileroom_dicomweb.problem import Problem
from fileroom_dicomweb.request_body import BrokenBody
from fileroom_server import command_set
from fileroom_server.import_archives import DAMAGED, ArchiveLimits, archive_members, opened_member
from fileroom_server.import_outcome import FileOutcome
from fileroom_storage.attributes import standard_registry
from fileroom_storage.errors import StorageError, UnusableObject
from fileroom_storage.index.arrival import instance_uids
from fileroom_storage.index.entity_rows import EntityRows
from fileroom_storage.parse.data_set_encoding import encode_data_set
from fileroom_storage.parse.frames import frame_layout, read_frame
from fileroom_storage.parse.header import Header, parse_header
from fileroom_storage.parse.json_fragments import JsonFragments, name_utf_8
from fileroom_storage.parse.json_reading import BrokenMetadata, MetadataTooLarge, read_json_data_sets
from fileroom_storage.parse.likeness import Models
from fileroom_storage.parse.native_model import native_model
from fileroom_storage.parse.native_model_reading import read_native_model
from fileroom_storage.parse.object_encoding import BulkValue, encode_object
from fileroom_storage.parse.part10 import read_file_meta
from fileroom_storage.parse.value_encoding import UnfitValue
from tests.fuzz import seeds
from tests.fuzz.target import Target

_CHUNK = 37
_OFFERS = (*JSON_OFFERS, Offer("application/dicom", True, seeds.EXPLICIT), Offer("image/jpeg"))
_ROWS = EntityRows(standard_registry())


def _data_set(transfer_syntax_uid: str, content: bytes) -> None:
    with suppress(UnusableObject):
        header = parse_header(content, transfer_syntax_uid)
        _read(content, header)
        # what is like the object before it must be read as if it were not
        models = Models()
        for _ in range(3):
            alike = parse_header(content, transfer_syntax_uid, models=models)
        assert alike.data_set.elements == header.data_set.elements
        assert JsonFragments().write(alike, str, {}) == _json(header)


def _read(content: bytes, header: Header) -> None:
    """All that is read of an object when it is stored and retrieved."""
    rows = _ROWS(header)
    assert _ROWS(header) == rows
    with suppress(UnusableObject):
        instance_uids(header)
    json = orjson.loads(_json(header))
    native_model(json)
    for path in _bulk_data_paths(header):
        header.bulk_data(path)
    with suppress(UnusableObject):
        layout = frame_layout(content, header)
        buffer = header.buffer
        for number in range(1, min(layout.number_of_frames if layout else 0, 3) + 1):
            assert layout is not None
            read_frame(lambda offset, length: bytes(buffer[offset : offset + length]), layout, number)


def _json(header: Header) -> bytes:
    elements = header.dicom_json(bulk_data_uri=str)
    name_utf_8(elements)
    return orjson.dumps(elements, option=orjson.OPT_SORT_KEYS)


def _bulk_data_paths(header: Header) -> list[str]:
    paths: list[str] = []

    def noted(path: str) -> str:
        paths.append(path)
        return path

    header.dicom_json(bulk_data_uri=noted, bulk_data_threshold=0)
    return paths[:50]


def explicit(content: bytes) -> None:
    _data_set(seeds.EXPLICIT, content)


def implicit(content: bytes) -> None:
    _data_set(seeds.IMPLICIT, content)


def file(content: bytes) -> None:
    with suppress(UnusableObject):
        meta = read_file_meta(content)
        data_set = content[meta.data_set_offset :]
        _read(data_set, parse_header(data_set, meta.transfer_syntax_uid))


def command(content: bytes) -> None:
    with suppress(ValueError):
        elements = command_set.decode_command_set(content)
        for tag in elements:
            command_set.number(elements, tag)
            command_set.text(elements, tag)


def _parts(content: bytes, size: int) -> list[tuple[dict[str, str], bytes]] | None:
    """As they are read in chunks of a size; None where the message is broken."""
    chunks = (content[start : start + size] for start in range(0, len(content), size))
    with suppress(BrokenMultipart):
        return [(dict(part.headers), b"".join(part.content)) for part in MultipartReader(chunks, seeds.BOUNDARY)]
    return None


def multipart(content: bytes) -> None:
    whole = _parts(content, max(len(content), 1))
    assert _parts(content, _CHUNK) == whole
    assert _parts(content, 1) == whole


def _encode(data_set: object) -> None:
    if isinstance(data_set, UnusableObject):
        return
    assert isinstance(data_set, dict)
    with suppress(UnusableObject):
        pieces = encode_object(data_set, _no_bulk_data, None)
        encoded = b"".join(piece for piece in pieces if isinstance(piece, bytes))
        # what was taken in can be read again
        parse_header(encoded, seeds.EXPLICIT)


def _no_bulk_data(_uri: str) -> list[BulkValue]:
    raise UnfitValue("there is none")


def json_metadata(content: bytes) -> None:
    with tempfile.SpooledTemporaryFile(1 << 20) as stream:
        stream.write(content)
        stream.seek(0)
        with suppress(BrokenMetadata, MetadataTooLarge):
            for data_set in read_json_data_sets(stream):
                _encode(data_set)


def xml_metadata(content: bytes) -> None:
    with suppress(BrokenMetadata, MetadataTooLarge, UnusableObject):
        _encode(read_native_model(content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)))


def media_types(content: bytes) -> None:
    header = content.decode("latin-1")
    ranges = accept_ranges(header, header)
    choose(ranges, _OFFERS)
    media_type(header)
    forwarded(header)


def gzip_body(content: bytes) -> None:
    with suppress(BrokenBody, Problem):
        for chunk in decoded(_chunks(content), "gzip", 1 << 22):
            assert len(chunk) <= 1 << 18


def _chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), _CHUNK):
        yield content[start : start + _CHUNK]


def zip_archive(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".zip") as archive:
        archive.write(content)
        archive.flush()
        path = archive.name
        for member in archive_members(path, Path(path).stat(), ArchiveLimits(1 << 22, 100)):
            if isinstance(member, FileOutcome):
                continue
            with suppress(*DAMAGED, OSError), opened_member(member) as source:
                total = 0
                while chunk := source.read(1 << 16):
                    total += len(chunk)
                assert total <= member.size


def answer_encoding(content: bytes) -> None:
    """What was read of an object goes out again as an identifier, in any character set that it names."""
    with suppress(UnusableObject):
        header = parse_header(content, seeds.EXPLICIT)
        indexed = {attribute.tag_hex: header.element(attribute.tag) for attribute in standard_registry().attributes}
        elements = {tag: element for tag, element in indexed.items() if element and "InlineBinary" not in element}
        for syntax in (seeds.EXPLICIT, seeds.IMPLICIT):
            with suppress(StorageError):
                encode_data_set(elements, syntax, header.specific_character_set)


TARGETS = {
    "explicit": Target(explicit, seeds.DATA_SETS[seeds.EXPLICIT], 6),
    "implicit": Target(implicit, seeds.DATA_SETS[seeds.IMPLICIT], 6),
    "file": Target(file, seeds.FILES, 4),
    "command": Target(command, (bytes.fromhex("00000000040000003800000000000200080000003132333435363700"),)),
    "multipart": Target(multipart, seeds.MULTIPART, 3),
    "json": Target(json_metadata, seeds.JSON, 2),
    "xml": Target(xml_metadata, seeds.XML, 2),
    "media_types": Target(media_types, seeds.ACCEPTS),
    "gzip": Target(gzip_body, seeds.GZIP),
    "zip": Target(zip_archive, seeds.ZIPS, 3),
    "answer": Target(answer_encoding, seeds.DATA_SETS[seeds.EXPLICIT], 3),
}
