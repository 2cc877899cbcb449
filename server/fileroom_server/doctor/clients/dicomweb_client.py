"""The Python package dicomweb-client 0.60: web.py."""

from typing import Any

from ..checks import bulk, metadata, pixels, search, storing
from ..exchange import MIB, Ask, Body
from ..findings import Client, Severity
from ..subjects import INSTANCE, SERIES, STUDY, Kind
from ..trial_object import quoted_multipart, quoted_multipart_type
from .media_types import FRAMES_ANY_TYPE, OBJECT_PARTS, OCTET_STREAM_PARTS

_JSON = "application/dicom+json, application/json"
_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"


def _ask(name: str, path: str, effect: str, **rest: Any) -> Ask:
    if rest.get("body", Body.DATA_SETS) is Body.DATA_SETS:
        rest.setdefault("accept", _JSON)
    return Ask(client=Client.DICOMWEB_CLIENT, name=name, path=path, effect=effect, **rest)


REQUESTS: tuple[Ask, ...] = (
    _ask(
        "search_for_studies",
        "/studies",
        "Studies cannot be found.",
        query="limit=10&offset=0",
        checks=(search.identified_by(STUDY), *search.WELL_FORMED, search.at_most(10)),
    ),
    _ask(
        "search_for_studies, get_remaining",
        "/studies",
        "Not all studies can be listed.",
        query="limit=10&offset=100000000",
        checks=(search.ends_after_the_last,),
    ),
    # a word of a name that only fuzzy matching finds (PS3.4 C.2.2.2.1.3)
    _ask(
        "search_for_studies, fuzzymatching",
        "/studies",
        "Names cannot be searched for by fuzzy matching.",
        query="fuzzymatching=true&PatientName={part_of_name}",
        severity=Severity.NOTE,
        checks=(search.finds(STUDY, "study"),),
    ),
    _ask(
        "search_for_series",
        "/studies/{study}/series",
        "Series cannot be found.",
        checks=(search.identified_by(SERIES), *search.WELL_FORMED),
    ),
    _ask(
        "search_for_instances",
        "/studies/{study}/series/{series}/instances",
        "Instances cannot be found.",
        of=Kind.IMAGE,
        query="limit=10&offset=0",
        checks=(search.identified_by(INSTANCE), *search.WELL_FORMED, search.at_most(10)),
    ),
    _ask(
        "retrieve_series_metadata",
        "/studies/{study}/series/{series}/metadata",
        "Metadata of a series cannot be had.",
        of=Kind.IMAGE,
        statuses=(200,),
        slow_after=5.0,
        limit=64 * MIB,
        checks=(metadata.identifies_instances, metadata.has_the_instance),
    ),
    _ask(
        "retrieve_instance_metadata",
        f"{_INSTANCE}/metadata",
        "Metadata of an instance cannot be had.",
        of=Kind.IMAGE,
        statuses=(200,),
        checks=(metadata.has_the_instance, *search.WELL_FORMED, metadata.describes_pixels),
    ),
    _ask(
        "retrieve_instance",
        _INSTANCE,
        "Instances cannot be retrieved.",
        of=Kind.IMAGE,
        accept=OBJECT_PARTS,
        body=Body.PARTS,
        statuses=(200,),
        slow_after=5.0,
        limit=64 * MIB,
        checks=(pixels.parts(1), pixels.objects),
    ),
    _ask(
        "retrieve_series",
        "/studies/{study}/series/{series}",
        "Series cannot be retrieved.",
        of=Kind.IMAGE,
        accept=OBJECT_PARTS,
        body=Body.PARTS,
        statuses=(200,),
        slow_after=10.0,
        limit=8 * MIB,
        checks=(pixels.objects,),
    ),
    _ask(
        "retrieve_instance_frames",
        f"{_INSTANCE}/frames/1",
        "Frames cannot be retrieved without the argument media_types.",
        of=Kind.IMAGE,
        accept=FRAMES_ANY_TYPE,
        body=Body.PARTS,
        statuses=(200,),
        severity=Severity.LIMITED,
        limit=64 * MIB,
        checks=(pixels.parts(1), pixels.frames_decode),
    ),
    _ask(
        "retrieve_instance_frames, media types given",
        f"{_INSTANCE}/frames/1",
        "Frames cannot be retrieved uncompressed.",
        of=Kind.IMAGE,
        accept=f"{OCTET_STREAM_PARTS}; transfer-syntax=1.2.840.10008.1.2.1",
        body=Body.PARTS,
        statuses=(200,),
        slow_after=5.0,
        limit=64 * MIB,
        checks=(pixels.parts(1), pixels.frames_decode),
    ),
    _ask(
        "retrieve_instance_frames, two",
        f"{_INSTANCE}/frames/1,{{frames}}",
        "Several frames cannot be retrieved at once without the argument media_types.",
        of=Kind.MULTI_FRAME,
        accept=FRAMES_ANY_TYPE,
        body=Body.PARTS,
        statuses=(200,),
        severity=Severity.LIMITED,
        limit=64 * MIB,
        checks=(pixels.parts(2), pixels.frames_decode),
    ),
    _ask(
        "retrieve_instance_rendered",
        f"{_INSTANCE}/rendered",
        "Rendered images cannot be retrieved.",
        of=Kind.IMAGE,
        accept="image/png",
        body=Body.SINGLE,
        statuses=(200,),
        severity=Severity.LIMITED,
        checks=(pixels.image_comes,),
    ),
    _ask(
        "retrieve_bulkdata",
        "{bulk_data_url}",
        "Bulk data cannot be retrieved.",
        of=Kind.BULK_DATA,
        accept=OCTET_STREAM_PARTS,
        body=Body.PARTS,
        statuses=(200, 206),
        checks=(bulk.uri_is_absolute, bulk.not_empty),
    ),
    _ask(
        "store_instances",
        "/studies",
        "Objects cannot be stored.",
        of=Kind.STORED,
        method="POST",
        accept="*/*",
        headers={"Content-Type": quoted_multipart_type()},
        content=quoted_multipart,
        body=Body.STORE_RESPONSE,
        statuses=(200, 202),
        checks=(storing.response_type_is_plain, storing.stored),
    ),
)
