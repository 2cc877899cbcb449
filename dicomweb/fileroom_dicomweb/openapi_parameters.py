"""The query parameters in the OpenAPI document; those of searches come from the attributes' registry."""

from collections.abc import Iterator

from pydicom.datadict import dictionary_description

from fileroom_storage.attributes import Attribute, Level, matching_types, standard_registry

from .openapi_schemas import PATH_PARAMETERS, Schema
from .rendering.options import DEFAULT_QUALITY, MAXIMUM_VIEWPORT, Annotation, IccProfile, WindowFunction

# A value as somebody would write it, by VR.
_EXAMPLES = {
    "AE": "FILEROOM",
    "CS": "CT",
    "DA": "20240101-20241231",
    "DT": "20240101-20240131",
    "TM": "0800-1200",
    "PN": "Doe*",
    "UI": "1.2.840.10008.5.1.4.1.1.2",
    "IS": "1",
    "DS": "1.5",
    "US": "1",
    "SS": "1",
    "UL": "1",
    "FD": "1.5",
    "FL": "1.5",
}


def query_parameter(name: str, description: str, schema: Schema, example: object = None) -> Schema:
    parameter: Schema = {"name": name, "in": "query", "description": description, "schema": schema}
    return parameter if example is None else {**parameter, "example": example}


ACCEPT = query_parameter(
    "accept", "Media types as in the Accept header; stands before it (PS3.18 8.3.3.1).", {"type": "string"}
)

_SWITCH: Schema = {"type": "string", "enum": ["true", "false"]}
_NUMBER: Schema = {"type": "integer", "minimum": 0}

SEARCH_PARAMETERS = (
    query_parameter("limit", "The most answers to give (PS3.18 8.3.4.4).", _NUMBER, 25),
    query_parameter("offset", "How many answers to leave out at the beginning.", _NUMBER, 0),
    query_parameter(
        "includefield",
        "Attributes to answer besides the usual ones: keywords or tags parted by commas, or `all`.",
        {"type": "string"},
        "StudyDescription",
    ),
    query_parameter("fuzzymatching", "Match names of persons by words and sound (PS3.4 C.2.2.2.1.1).", _SWITCH),
    ACCEPT,
)


# PS3.18 8.3.5.1; a test holds them against what is read.
VIEWPORT = query_parameter(
    "viewport",
    "Width and height to fit into, then left, top, width and height of the region to show.",
    {"type": "string", "pattern": r"^[0-9]{0,4},[0-9]{0,4}(,[0-9]*,[0-9]*,-?[0-9]*,-?[0-9]*)?$"},
    "512,512",
)
QUALITY = query_parameter("quality", "Of JPEG.", {"type": "integer", "minimum": 1, "maximum": 100}, DEFAULT_QUALITY)
RENDERING_PARAMETERS = (
    VIEWPORT,
    query_parameter(
        "window",
        f"Center, width and, if not LINEAR, function: {', '.join(WindowFunction)}.",
        {"type": "string", "pattern": rf"^-?[0-9]+,[1-9][0-9]*(,({'|'.join(WindowFunction)}))?$"},
        "40,400",
    ),
    QUALITY,
    query_parameter("iccprofile", "The colour space to convert into.", {"enum": list(IccProfile)}),
    query_parameter(
        "annotation", "What to write into the corners.", {"enum": [*Annotation, ",".join(Annotation)]}, "technique"
    ),
    ACCEPT,
)
THUMBNAIL_PARAMETERS = ({**VIEWPORT, "description": "Width and height to fit into.", "example": "128,128"}, ACCEPT)

_FRACTION = r"(0(\.[0-9]+)?|1)"
# PS3.18 9.1.2
WADO_URI_PARAMETERS = (
    {**query_parameter("requestType", "What this is.", {"const": "WADO"}, "WADO"), "required": True},
    *(
        {
            **query_parameter(name, f"{PATH_PARAMETERS[entity]['description']}.", PATH_PARAMETERS[entity]["schema"]),
            "required": True,
        }
        for name, entity in (("studyUID", "study"), ("seriesUID", "series"), ("objectUID", "instance"))
    ),
    query_parameter(
        "contentType",
        "Media types, the one liked best first; `Accept` is not looked at.",
        {"type": "string"},
        "image/jpeg",
    ),
    query_parameter(
        "transferSyntax", "Transfer Syntax UID, of `application/dicom` only.", {"type": "string"}, "1.2.840.10008.1.2.1"
    ),
    query_parameter(
        "frameNumber", "One frame, counted from 1.", {"type": "integer", "minimum": 1, "maximum": 999_999_999}, 1
    ),
    query_parameter(
        "rows", "The most rows of an image.", {"type": "integer", "minimum": 1, "maximum": MAXIMUM_VIEWPORT}, 512
    ),
    query_parameter(
        "columns", "The most columns of an image.", {"type": "integer", "minimum": 1, "maximum": MAXIMUM_VIEWPORT}, 512
    ),
    query_parameter(
        "region",
        "Left, top, right and bottom of what to show, from 0 to 1.",
        {"type": "string", "pattern": rf"^{_FRACTION}(,{_FRACTION}){{3}}$"},
        "0,0,0.5,0.5",
    ),
    query_parameter("windowCenter", "With windowWidth.", {"type": "number"}),
    query_parameter("windowWidth", "With windowCenter.", {"type": "number", "exclusiveMinimum": 0}),
    query_parameter("imageQuality", "Of JPEG.", QUALITY["schema"], DEFAULT_QUALITY),
    query_parameter(
        "annotation", "What to write into the corners.", {"enum": [*Annotation, ",".join(Annotation)]}, "technique"
    ),
)


def search_parameters(level: Level) -> Iterator[Schema]:
    """Those every search has, then the attributes that may be matched when a level is searched."""
    yield from SEARCH_PARAMETERS
    for upper in level.up_to():
        for attribute in standard_registry().at_level(upper):
            yield from (_matched(attribute, item) for item in attribute.item_attributes or (None,))


def _matched(attribute: Attribute, item: Attribute | None) -> Schema:
    matched = item or attribute
    name = f"{attribute.keyword}.{item.keyword}" if item else attribute.keyword
    tags = f"{attribute.tag_hex}.{item.tag_hex}" if item else attribute.tag_hex
    description = (
        f"{dictionary_description(matched.tag)}, `{tags}`, {matched.vr}: {', '.join(matching_types(matched))}."
    )
    return query_parameter(name, description, {"type": "string"}, _EXAMPLES.get(matched.vr))
