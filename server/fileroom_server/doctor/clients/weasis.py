"""Weasis 4: queries of RsQueryResult, previews of ThumbnailManager, downloads of SeriesDownloadManager."""

from typing import Any

from ..checks import pixels, search
from ..exchange import MIB, Ask, Body, Check
from ..findings import Client, Severity
from ..subjects import INSTANCE, SERIES, STUDY, Kind
from .media_types import DICOM_JSON

_STUDY_FIELDS = (
    "includefield=00080020,00080030,00080050,00080061,00080090,00081030,00100010,00100020,00100021,00100030,00100040,"
    "0020000D,00200010"
)
_OBJECTS = 'multipart/related;type="application/dicom";transfer-syntax=*'
_FINDS_STUDY: tuple[Check, ...] = (search.finds(STUDY, "study"), *search.WELL_FORMED)


def _ask(name: str, path: str, effect: str, **rest: Any) -> Ask:
    return Ask(client=Client.WEASIS, name=name, path=path, effect=effect, **rest)


REQUESTS: tuple[Ask, ...] = (
    # queries go without an Accept header unless --query-header gives one
    _ask(
        "study",
        "/studies",
        "A study does not open by its UID.",
        query="0020000D={study}&" + _STUDY_FIELDS,
        checks=(*_FINDS_STUDY, search.finds_only(STUDY, "study")),
    ),
    _ask(
        "studies of a patient",
        "/studies",
        "Studies do not open by the patient's ID.",
        query="00100020={patient_id}&" + _STUDY_FIELDS,
        checks=_FINDS_STUDY,
    ),
    _ask(
        "study by accession number",
        "/studies",
        "A study does not open by its accession number.",
        query="00080050={accession_number}&" + _STUDY_FIELDS,
        checks=_FINDS_STUDY,
    ),
    _ask(
        "series of a study",
        "/studies/{study}/series",
        "A study opens empty.",
        query="includefield=0008103E,00080060,0020000E,00200011,00081190",
        checks=(
            search.identified_by(SERIES),
            *search.WELL_FORMED,
            search.columns(search.SERIES_COLUMNS),
            search.retrieve_url_is_absolute,
        ),
    ),
    _ask(
        "series by its UID",
        "/series",
        "A series does not open by its UID.",
        query="0020000E={series}&" + _STUDY_FIELDS + ",0008103E,00080060,00081190,00200011",
        of=Kind.IMAGE,
        severity=Severity.LIMITED,
        checks=(search.finds(SERIES, "series"), search.finds_only(SERIES, "series")),
    ),
    _ask(
        "instance by its UID",
        "/instances",
        "An instance does not open by its UID.",
        query="00080018={instance}&" + _STUDY_FIELDS + ",0008103E,00080060,0020000E,00200011,00200013,00081190",
        of=Kind.IMAGE,
        severity=Severity.LIMITED,
        checks=(search.finds(INSTANCE, "instance"), search.finds_only(INSTANCE, "instance")),
    ),
    # at the Retrieve URL (0008,1190) that the series has
    _ask(
        "instances of a series",
        "{series_url}/instances",
        "A series opens without images.",
        query="includefield=00080018,00200013,00081190",
        of=Kind.IMAGE,
        slow_after=5.0,
        checks=(
            search.identified_by(INSTANCE),
            *search.WELL_FORMED,
            search.columns(search.INSTANCE_COLUMNS),
            search.retrieve_url_is_absolute,
        ),
    ),
    _ask(
        "page of instances",
        "/studies/{study}/series/{series}/instances",
        "An interrupted download cannot be completed.",
        query="includefield=00080016,00080018,00200013&offset=0&limit=1000",
        of=Kind.IMAGE,
        accept=DICOM_JSON,
        severity=Severity.LIMITED,
        checks=(search.identified_by(INSTANCE), search.at_most(1000)),
    ),
    _ask(
        "preview",
        "/studies/{study}/series/{series}/instances/{instance}/thumbnail",
        "There is no preview by this resource; Weasis then asks for the rendered image.",
        query="viewport=256%2C256",
        of=Kind.IMAGE,
        accept="image/jpeg",
        body=Body.SINGLE,
        statuses=(200,),
        severity=Severity.NOTE,
        checks=(pixels.image_comes,),
    ),
    _ask(
        "rendered preview",
        "/studies/{study}/series/{series}/instances/{instance}/rendered",
        "There are no previews of series before they are loaded.",
        query="viewport=256%2C256",
        of=Kind.IMAGE,
        accept="image/jpeg",
        body=Body.SINGLE,
        statuses=(200,),
        severity=Severity.LIMITED,
        checks=(pixels.image_comes,),
    ),
    # at its Retrieve URL; the default of --accept-ext is transfer-syntax=*
    _ask(
        "instance",
        "{instance_url}",
        "No image can be loaded.",
        of=Kind.IMAGE,
        accept=_OBJECTS,
        body=Body.PARTS,
        statuses=(200,),
        slow_after=5.0,
        limit=64 * MIB,
        checks=(pixels.parts(1), pixels.objects),
    ),
    _ask(
        "multi-frame instance",
        "{instance_url}",
        "Multi-frame images cannot be loaded.",
        of=Kind.MULTI_FRAME,
        accept=_OBJECTS,
        body=Body.PARTS,
        statuses=(200,),
        slow_after=10.0,
        limit=64 * MIB,
        checks=(pixels.parts(1), pixels.objects),
    ),
    _ask(
        "whole series",
        "/studies/{study}/series/{series}",
        "Series cannot be loaded in one request, as manifests may ask for.",
        of=Kind.IMAGE,
        accept=_OBJECTS,
        body=Body.PARTS,
        statuses=(200,),
        severity=Severity.LIMITED,
        slow_after=10.0,
        limit=8 * MIB,
        checks=(pixels.objects,),
    ),
)
