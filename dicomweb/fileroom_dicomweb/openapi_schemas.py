"""The schemas of the OpenAPI document: DICOM JSON (PS3.18 Annex F), problem bodies, and what paths are made of."""

from typing import Any

from pydicom.valuerep import VR

from fileroom_storage.storage import REJECTION_MEANINGS, REJECTION_SCHEME, DeletionReason

Schema = dict[str, Any]

_UID = r"^[0-9A-Za-z_-][0-9A-Za-z._-]{0,63}$"

_COUNT: Schema = {"type": "integer", "minimum": 0}

BINARY: Schema = {"type": "string", "format": "binary"}
TEXT: Schema = {"type": "string"}
OBJECT: Schema = {"type": "object"}


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


DELETION: Schema = reference("Deletion")
RESTORATION: Schema = reference("Restoration")
DATA_SETS: Schema = {"type": "array", "items": reference("DataSet")}
DATA_SET: Schema = reference("DataSet")
PROBLEM: Schema = reference("Problem")

SCHEMAS: dict[str, Schema] = {
    "DataSet": {
        "description": "A data set in DICOM JSON (PS3.18 F.2): its elements by tag.",
        "type": "object",
        "patternProperties": {"^[0-9A-F]{8}$": reference("Element")},
        "additionalProperties": False,
    },
    "Element": {
        "description": "An element has Value, InlineBinary or BulkDataURI, or none of them where it is empty.",
        "type": "object",
        "properties": {
            "vr": {"enum": sorted({vr.value for vr in VR if len(vr.value) == 2})},
            "Value": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"type": ["string", "number", "null"]},
                        reference("PersonName"),
                        reference("DataSet"),
                    ]
                },
            },
            "InlineBinary": {"type": "string", "contentEncoding": "base64"},
            "BulkDataURI": {"type": "string", "format": "uri-reference"},
        },
        "required": ["vr"],
        "additionalProperties": False,
    },
    "Deletion": {
        "description": "What can be restored. A null UID: all that is below the one before.",
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "at": {"type": "string", "format": "date-time"},
            "reason": {"enum": [reason.value for reason in DeletionReason]},
            "code": {"description": "Of a rejection: why, as a code of DCM.", "type": ["string", "null"]},
            **{
                name: {"type": ["string", "null"]}
                for name in ("rejection_note_uid", "study_instance_uid", "series_instance_uid", "sop_instance_uid")
            },
            "objects": {"type": "integer"},
            "size": {"description": "Bytes.", "type": "integer"},
            "purge_at": {
                "description": "When it can be restored no longer; null: never by itself.",
                "type": ["string", "null"],
                "format": "date-time",
            },
            "restore": {
                "description": "What to POST to; null where nothing is changed over HTTP.",
                "type": ["string", "null"],
                "format": "uri-reference",
            },
        },
        "required": ["id", "at", "reason", "study_instance_uid", "objects", "purge_at", "restore"],
        "additionalProperties": False,
    },
    "PersonName": {
        "type": "object",
        "properties": {group: {"type": "string"} for group in ("Alphabetic", "Ideographic", "Phonetic")},
        "additionalProperties": False,
    },
    "Restoration": {
        "description": "What became of the instances of a deletion.",
        "type": "object",
        "properties": dict.fromkeys(("id", "restored", "already_stored", "in_conflict", "lost"), _COUNT),
        "required": ["id", "restored", "already_stored", "in_conflict", "lost"],
    },
    "Problem": {
        "description": "What went wrong and what to do next (RFC 9457).",
        "type": "object",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"},
            "acceptable": {
                "description": "Of a 406: the media types that would have done.",
                "type": "array",
                "items": {"type": "string"},
            },
            "attribute": {"description": "Keyword of the attribute that is at fault.", "type": "string"},
        },
        "required": ["type", "title", "status", "detail"],
    },
}


def _uid(description: str, example: str) -> Schema:
    return {"description": description, "schema": {"type": "string", "pattern": _UID}, "example": example}


# What stands between < and > in a route.
PATH_PARAMETERS: dict[str, Schema] = {
    "study": _uid("Study Instance UID (0020,000D)", "1.2.826.0.1.3680043.8.498.1"),
    "series": _uid("Series Instance UID (0020,000E)", "1.2.826.0.1.3680043.8.498.1.1"),
    "instance": _uid("SOP Instance UID (0008,0018)", "1.2.826.0.1.3680043.8.498.1.1.1"),
    "frame_list": {
        "description": "Frames by number, counted from 1, and ranges of them, parted by commas",
        "schema": {
            "type": "string",
            "pattern": r"^[1-9][0-9]{0,8}(-[1-9][0-9]{0,8})?(,[1-9][0-9]{0,8}(-[1-9][0-9]{0,8})?)*$",
        },
        "example": "1",
    },
    "code": {
        "description": "Why: "
        + ", ".join(f"`{code}` {meaning}" for code, meaning in REJECTION_MEANINGS.items())
        + f"; with `^{REJECTION_SCHEME}` or without",
        "schema": {"type": "string", "pattern": rf"^({'|'.join(REJECTION_MEANINGS)})(\^{REJECTION_SCHEME})?$"},
        "example": f"{next(iter(REJECTION_MEANINGS))}^{REJECTION_SCHEME}",
    },
    "deletion": {
        "description": "Number of a deletion",
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        "example": 1,
    },
    "path": {
        "description": "Which value, as BulkDataURI of the metadata has it: tags and item numbers, parted by slashes",
        "schema": {"type": "string", "pattern": r"^[0-9A-Fa-f]{8}(/[0-9]{1,6}/[0-9A-Fa-f]{8})*$"},
        "example": "7FE00010",
    },
}
