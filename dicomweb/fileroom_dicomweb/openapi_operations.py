"""What each endpoint of the blueprint does, takes and answers with: one entry an endpoint and method."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from pydicom.uid import AllTransferSyntaxes

from fileroom_storage.attributes import Level

from .frame_media_types import frame_media_types
from .media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    HTML,
    JSON,
    MULTIPART_RELATED,
    OCTET_STREAM,
    OPENAPI_JSON,
    PROBLEM_JSON,
    ZIP,
    Offer,
)
from .openapi_parameters import (
    ACCEPT,
    RENDERING_PARAMETERS,
    THUMBNAIL_PARAMETERS,
    WADO_URI_PARAMETERS,
    search_parameters,
)
from .openapi_schemas import BINARY, DATA_SET, DATA_SETS, DELETION, OBJECT, PROBLEM, RESTORATION, TEXT, Schema
from .rendering.encode import IMAGE_MEDIA_TYPES
from .rendering.report import REPORT_MEDIA_TYPES
from .stow import STORE_OFFERS


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: what it is, and the media types it may have, each with its schema."""

    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """`{}` in the summary is the resource that the URL names. `reference` is the part of the standard."""

    service: str
    summary: str
    reference: str
    answers: Mapping[HTTPStatus, Answer]
    errors: tuple[HTTPStatus, ...]
    parameters: Callable[[], Iterable[Schema]] = tuple
    body: Mapping[str, Schema] = field(default_factory=dict)


SEARCH = "Search (QIDO-RS)"
RETRIEVE = "Retrieve (WADO-RS)"
RENDERED = "Rendered (WADO-RS, WADO-URI)"
STORE = "Store (STOW-RS)"
DELETE = "Delete and reject"
CAPABILITIES = "Capabilities"

# What may befall every request. A 404 of an address that is no resource, and a 405, are not of any resource here.
_ALWAYS = (HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_SEARCH_ERRORS = (*_ALWAYS, HTTPStatus.NOT_ACCEPTABLE)
_RETRIEVE_ERRORS = (*_SEARCH_ERRORS, HTTPStatus.NOT_FOUND)
_STORE_ERRORS = (
    *_ALWAYS,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
_DELETE_ERRORS = (*_ALWAYS, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.INSUFFICIENT_STORAGE)

_UNCHANGED = {HTTPStatus.NOT_MODIFIED: Answer("What the client has is what there is (If-None-Match).")}


def content(offers: Iterable[Offer], schema: Schema) -> dict[str, Schema]:
    """By media type; the parts of a multipart answer are told in words, for their types have no place of their own."""
    offers = tuple(offers)
    types: dict[str, Schema] = {}
    parts = dict.fromkeys(offer.media_type for offer in offers if offer.multipart)
    for offer in offers:
        if offer.multipart:
            types[MULTIPART_RELATED] = {**BINARY, "description": f"Each part is {', '.join(parts)}."}
        else:
            types[offer.media_type] = schema
    return types


def _in_both_forms(*media_types: str) -> list[Offer]:
    return [Offer(name, multipart=multipart) for multipart in (True, False) for name in dict.fromkeys(media_types)]


def _frame_offers() -> list[Offer]:
    """As what frames may be given, over all transfer syntaxes."""
    names: list[str] = []
    for uid in AllTransferSyntaxes:
        name, _, others = frame_media_types(uid)
        names += (name, *others)
    return _in_both_forms(*names)


def _search(level: Level, what: str, table: str) -> Operation:
    offers = (Offer(DICOM_JSON), Offer(DICOM_XML, multipart=True))
    return Operation(
        SEARCH,
        f"Search for {what} {{}}",
        f"PS3.18 10.6, {table}",
        {
            HTTPStatus.OK: Answer(f"The {what} that match.", content(offers, DATA_SETS)),
            HTTPStatus.NO_CONTENT: Answer("None match, and XML was asked for."),
        },
        _SEARCH_ERRORS,
        lambda: search_parameters(level),
    )


def _retrieve(
    summary: str,
    clause: str,
    answers: Mapping[HTTPStatus, Answer],
    parameters: tuple[Schema, ...] = (ACCEPT,),
    errors: tuple[HTTPStatus, ...] = (),
    service: str = RETRIEVE,
) -> Operation:
    return Operation(service, summary, f"PS3.18 {clause}", answers, (*_RETRIEVE_ERRORS, *errors), lambda: parameters)


_OBJECTS = content((Offer(DICOM, multipart=True), Offer(DICOM), Offer(ZIP)), BINARY)
_METADATA = {
    **content((Offer(DICOM_JSON),), DATA_SETS),
    **content((Offer(DICOM_XML, multipart=True), Offer(DICOM_XML)), BINARY),
}
# an encapsulated document is what it says that it is
_BULK_DATA = content(
    (*_in_both_forms(OCTET_STREAM, "application/vnd.iccprofile"), *_frame_offers(), Offer("*/*")), BINARY
)
_PICTURES = _in_both_forms(*IMAGE_MEDIA_TYPES)
_SINGLE = (*IMAGE_MEDIA_TYPES, *REPORT_MEDIA_TYPES, "application/pdf", "video/*", "*/*")
_RENDERED = content((*_PICTURES, *map(Offer, _SINGLE)), BINARY)

# PS3.18 10.5.3: the Store Instances Response
_STORED = {**content((Offer(DICOM_JSON),), DATA_SET), **content((Offer(DICOM_XML),), BINARY)}
_STORE = Operation(
    STORE,
    "Store instances {}",
    "PS3.18 10.5",
    {
        HTTPStatus.OK: Answer("All are stored.", _STORED),
        HTTPStatus.ACCEPTED: Answer("Some are stored, or with a warning.", _STORED),
        HTTPStatus.CONFLICT: Answer("None is stored; FailedSOPSequence (0008,1198) says of each why.", _STORED),
        HTTPStatus.SERVICE_UNAVAILABLE: Answer(
            "None is stored, but could be later (Retry-After).", {**_STORED, PROBLEM_JSON: PROBLEM}
        ),
        HTTPStatus.INSUFFICIENT_STORAGE: Answer(
            "None is stored before somebody has made room on the disk, or it may be written again.",
            {**_STORED, PROBLEM_JSON: PROBLEM},
        ),
    },
    _STORE_ERRORS,
    body={**content(STORE_OFFERS, BINARY), DICOM_JSON: DATA_SETS},
)

_DELETED = {HTTPStatus.OK: Answer("What was taken out of use, and how to undo it.", {JSON: DELETION})}

# In the order of the document.
OPERATIONS: dict[tuple[str, str], Operation] = {
    ("search_for_studies", "GET"): _search(Level.STUDY, "studies", "Table 10.6.3-3"),
    ("search_for_series", "GET"): _search(Level.SERIES, "series", "Table 10.6.3-4"),
    ("search_for_instances", "GET"): _search(Level.IMAGE, "instances", "Table 10.6.3-5"),
    ("retrieve", "GET"): _retrieve(
        "Retrieve the objects {}",
        "10.4.1.1.1",
        {
            HTTPStatus.OK: Answer(
                "As they are stored, or in the transfer syntax that Accept names.",
                _OBJECTS,
            ),
            HTTPStatus.PARTIAL_CONTENT: Answer("Some; the others cannot be had in that transfer syntax.", _OBJECTS),
            **_UNCHANGED,
        },
    ),
    ("metadata", "GET"): _retrieve(
        "Retrieve the metadata {}",
        "10.4.1.1.2",
        {HTTPStatus.OK: Answer("Whole headers; longer binary values by BulkDataURI.", _METADATA), **_UNCHANGED},
    ),
    ("frames", "GET"): _retrieve(
        "Retrieve some frames",
        "10.4.1.1.6",
        {
            HTTPStatus.OK: Answer("The frames, in the order asked for.", content(_frame_offers(), BINARY)),
            **_UNCHANGED,
        },
    ),
    ("bulk_data", "GET"): _retrieve(
        "Retrieve a value that metadata gives by URI, {}",
        "10.4.1.1.5",
        {
            HTTPStatus.OK: Answer("The value.", _BULK_DATA),
            HTTPStatus.PARTIAL_CONTENT: Answer("The bytes of it that Range names.", _BULK_DATA),
            **_UNCHANGED,
        },
        errors=(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,),
    ),
    ("all_bulk_data", "GET"): _retrieve(
        "Retrieve all values that metadata gives by URI, {}",
        "10.4.1.1.5",
        {
            HTTPStatus.OK: Answer(
                "A part for each value; its Content-Location says which.",
                content((Offer(OCTET_STREAM, multipart=True),), BINARY),
            ),
            **_UNCHANGED,
        },
    ),
    ("rendered", "GET"): _retrieve(
        "Retrieve pictures {}",
        "10.4.1.1.3",
        {
            HTTPStatus.OK: Answer("Images as pictures; reports, documents and videos as what they are.", _RENDERED),
            **_UNCHANGED,
        },
        RENDERING_PARAMETERS,
        service=RENDERED,
    ),
    ("thumbnail", "GET"): _retrieve(
        "Retrieve a small picture {}",
        "10.4.1.1.4",
        {HTTPStatus.OK: Answer("One picture.", content(_PICTURES, BINARY)), **_UNCHANGED},
        THUMBNAIL_PARAMETERS,
        service=RENDERED,
    ),
    ("wado_uri.retrieve", "GET"): _retrieve(
        "Retrieve one object, or a picture of it",
        "9",
        {
            HTTPStatus.OK: Answer(
                "The first of contentType that can be had.", content(map(Offer, (DICOM, *_SINGLE)), BINARY)
            ),
            **_UNCHANGED,
        },
        WADO_URI_PARAMETERS,
        service=RENDERED,
    ),
    ("store", "POST"): _STORE,
    ("store_to_study", "POST"): _STORE,
    ("delete", "DELETE"): Operation(DELETE, "Delete the objects {}", "not in PS3.18", _DELETED, _DELETE_ERRORS),
    ("reject", "POST"): Operation(
        DELETE, "Reject the objects {} by a note", "IHE RAD TF-2 4.66", _DELETED, _DELETE_ERRORS
    ),
    ("deletions", "GET"): Operation(
        DELETE,
        "What was deleted or rejected",
        "not in PS3.18",
        {HTTPStatus.OK: Answer("The deletions that can be undone.", {JSON: {"type": "array", "items": DELETION}})},
        _ALWAYS,
    ),
    ("deletion", "GET"): Operation(
        DELETE,
        "One deletion",
        "not in PS3.18",
        {HTTPStatus.OK: Answer("What it took out of use.", {JSON: DELETION})},
        (*_ALWAYS, HTTPStatus.NOT_FOUND),
    ),
    ("restore", "POST"): Operation(
        DELETE,
        "Undo a deletion",
        "not in PS3.18",
        {HTTPStatus.OK: Answer("What became of the instances.", {JSON: RESTORATION})},
        _DELETE_ERRORS,
    ),
    ("capabilities_page", "GET"): Operation(
        CAPABILITIES,
        "This page, or this document by Accept",
        "PS3.18 8.9",
        {HTTPStatus.OK: Answer("What there is.", {HTML: TEXT, OPENAPI_JSON: OBJECT, JSON: OBJECT})},
        (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE),
        lambda: (ACCEPT,),
    ),
    ("openapi_document", "GET"): Operation(
        CAPABILITIES,
        "This document",
        "PS3.18 8.9",
        {HTTPStatus.OK: Answer("An OpenAPI document.", {OPENAPI_JSON: OBJECT, JSON: OBJECT})},
        (HTTPStatus.BAD_REQUEST,),
    ),
}
