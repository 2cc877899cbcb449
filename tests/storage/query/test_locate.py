"""From unique keys to objects and frames, on every database: one value by a prepared statement, several by another."""

import os
from itertools import product

import pytest
from pydicom.uid import JPEGLSLossless

from fileroom_storage.errors import FrameOutOfRange, InvalidQuery
from fileroom_storage.storage import Provenance, Storage, StoredInstance, Stretch
from tests.dicomweb.objects import data_set, encapsulated, part10
from tests.made import made, uid
from tests.storage.stored import store

FRAMES = [os.urandom(2 * number) for number in range(1, 301)]


@pytest.fixture
def keys(storage: Storage) -> list[dict[str, str]]:
    """Of two studies of two series of two instances, in the order in which they are given."""
    found = []
    for study, series, number in product((1, 2), (1, 2), (1, 2)):
        found.append(
            {
                "PatientID": f"P{study}",
                "StudyInstanceUID": uid(study),
                "SeriesInstanceUID": uid(study, series),
                "SOPInstanceUID": uid(study, series, number),
            }
        )
    for one in reversed(found):
        series, number = (int(one[keyword].rpartition(".")[2]) for keyword in ("SeriesInstanceUID", "SOPInstanceUID"))
        assert store(storage, made(**one, SeriesNumber=series, InstanceNumber=number)).status == "stored"
    return found


ASKED = [
    ("PatientID",),
    ("StudyInstanceUID",),
    ("SOPInstanceUID",),
    ("StudyInstanceUID", "SeriesInstanceUID"),
    ("SeriesInstanceUID", "StudyInstanceUID"),
    ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
]


def test_one_value_finds_what_a_list_of_it_finds(storage: Storage, keys: list[dict[str, str]]) -> None:
    for asked, one in product(ASKED, keys):
        matches = {keyword: one[keyword] for keyword in asked}
        expected = [each["SOPInstanceUID"] for each in keys if matches.items() <= each.items()]
        found = list(storage.locate(matches))
        assert [instance.sop_instance_uid for instance in found] == expected
        listed = {keyword: f"{value}\\{uid(77)}" for keyword, value in matches.items()}
        assert list(storage.locate(listed)) == found
    for asked in ASKED:
        elsewhere = {**{keyword: keys[0][keyword] for keyword in asked}, "SOPInstanceUID": keys[-1]["SOPInstanceUID"]}
        assert len(list(storage.locate(elsewhere))) == (1 if asked == ("SOPInstanceUID",) else 0)
    for nothing in ({}, {"StudyInstanceUID": ""}, {"PatientName": "A"}, {"StudyInstanceUID": "\\ "}):
        with pytest.raises(InvalidQuery):
            storage.locate(nothing)


def located(storage: Storage, content: bytes) -> StoredInstance:
    incoming = storage.receive()
    incoming.write(content)
    outcome = incoming.store(Provenance("import"))
    (instance,) = storage.locate({"SOPInstanceUID": outcome.sop_instance_uid})
    return instance


def by_pieces(storage: Storage, instance: StoredInstance, numbers: list[int | range]) -> list[bytes]:
    frames = storage.frame_pieces(instance, numbers)
    try:
        return [
            b"".join(
                piece.file.read_at(piece.offset, piece.length) if isinstance(piece, Stretch) else bytes(piece)
                for piece in pieces
            )
            for pieces in frames
        ]
    finally:
        frames.close()


NUMBERS: list[list[int | range]] = [
    [1],
    [300],
    [range(1, 301)],
    [300, 1, 150],
    [*range(1, 301, 70)],
    [*range(300, 0, -66), 5, 5],
]


def test_frames(storage: Storage) -> None:
    compressed = located(storage, encapsulated(FRAMES, JPEGLSLossless))
    assert compressed.frames is not None
    assert (compressed.frames.number_of_frames, compressed.frames.frame_length) == (300, None)
    pixels = os.urandom(300 * 128)
    native = located(storage, part10(data_set(NumberOfFrames=300, PixelData=pixels)))
    assert native.frames is not None
    assert (native.frames.number_of_frames, native.frames.frame_length) == (300, 1024)
    expected = {compressed: FRAMES, native: [pixels[start : start + 128] for start in range(0, len(pixels), 128)]}
    for numbers, (instance, frames) in product(NUMBERS, expected.items()):
        wanted = [number for part in numbers for number in (part if isinstance(part, range) else (part,))]
        assert list(storage.frames(instance, numbers)) == [frames[number - 1] for number in wanted]
        assert by_pieces(storage, instance, numbers) == [frames[number - 1] for number in wanted]
        for outside in (0, 301, range(300, 302)):
            with pytest.raises(FrameOutOfRange):
                storage.frame_pieces(instance, [*numbers, outside])
