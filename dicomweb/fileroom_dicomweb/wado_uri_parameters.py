"""The query parameters of WADO-URI (PS3.18 9.1.2), read and refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn
from urllib.request import parse_http_list

from .media_types import MediaType, media_type
from .origin_server import Resource
from .problem import Problem
from .rendering import RenderingOptions, Viewport, rendering_options

_UIDS = ("studyUID", "seriesUID", "objectUID")
_MOST_DIGITS = 9

Region = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class WadoUriRequest:
    """What is asked for. `region` is of the whole image as 1 by 1: left, top, right, bottom."""

    resource: Resource
    media_types: tuple[MediaType, ...]
    transfer_syntax_uid: str | None
    frame_number: int | None
    options: RenderingOptions
    region: Region | None


def wado_uri_request(parameters: Mapping[str, str]) -> WadoUriRequest:
    """Raises Problem for what is missing, not understood, or not done here."""
    asked = {name: value.strip() for name, value in parameters.items() if value.strip()}
    if asked.get("requestType") != "WADO":
        _refuse("requestType", "requestType=WADO has to be there; it is all that there is")
    for name in _UIDS:
        if name not in asked:
            _refuse(name, f"{name} has to be there: an object is named by studyUID, seriesUID and objectUID")
    _refuse_what_is_not_done(asked)
    resource = Resource(*(asked[name] for name in _UIDS))
    resource.check()
    return WadoUriRequest(
        resource,
        _media_types(asked.get("contentType", "")),
        asked.get("transferSyntax"),
        _whole_number(asked, "frameNumber"),
        _options(asked),
        _region(asked),
    )


def _refuse_what_is_not_done(asked: Mapping[str, str]) -> None:
    # Nothing identified is ever given to those who asked for the contrary; burned-in text is in pixels, too.
    if "anonymize" in asked:
        _refuse(
            "anonymize",
            "objects are not de-identified here, and none is given to who asks for it; "
            "retrieve the object without the parameter, and de-identify it where its purpose is known (PS3.15 E)",
        )
    for name in ("presentationUID", "presentationSeriesUID"):
        if name in asked:
            _refuse(name, "presentation states are not applied here; retrieve the object without the parameter")


def _media_types(text: str) -> tuple[MediaType, ...]:
    ranges = tuple(media_type(part) for part in parse_http_list(text))
    named = tuple(one for one in ranges if one is not None)
    if len(named) < len(ranges):
        _refuse(
            "contentType", "contentType is a list of media types parted by commas, as in image/jpeg,image/png;q=0.5"
        )
    return named


def _options(asked: Mapping[str, str]) -> RenderingOptions:
    """Rows, columns, window and the like, by the parameters of rendered resources that mean the same."""
    rows, columns = _whole_number(asked, "rows"), _whole_number(asked, "columns")
    center, width = asked.get("windowCenter"), asked.get("windowWidth")
    if (center is None) != (width is None):
        _refuse("windowCenter", "windowCenter and windowWidth go together")
    same = {
        "viewport": f"{columns or ''},{rows or ''}" if rows or columns else "",
        "window": f"{center},{width}" if center is not None else "",
        "quality": asked.get("imageQuality", ""),
        "annotation": asked.get("annotation", ""),
    }
    return rendering_options(same)


def _region(asked: Mapping[str, str]) -> Region | None:
    if "region" not in asked:
        return None
    try:
        left, top, right, bottom = (float(part) for part in asked["region"].split(","))
    except ValueError:
        left, top, right, bottom = 1.0, 1.0, 0.0, 0.0
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        _refuse("region", "region=left,top,right,bottom: numbers from 0 to 1, of the whole image")
    return left, top, right, bottom


def region_of(request: WadoUriRequest, rows: int, columns: int) -> Viewport | None:
    """The viewport, with the region in pixels of an image of this size."""
    viewport = request.options.viewport
    if request.region is None:
        return viewport
    left, top, right, bottom = request.region
    return Viewport(
        viewport.width if viewport else None,
        viewport.height if viewport else None,
        left * columns,
        top * rows,
        (right - left) * columns,
        (bottom - top) * rows,
    )


def _whole_number(asked: Mapping[str, str], name: str) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and int(text) > 0):
        _refuse(name, f"{name} is a whole number above 0")
    return int(text)


def _refuse(parameter: str, detail: str) -> NoReturn:
    raise Problem(HTTPStatus.BAD_REQUEST, f"{detail[0].upper()}{detail[1:]}.", parameter=parameter)
