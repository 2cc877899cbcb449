"""OHIF 3: its DICOMweb data source and the JavaScript dicomweb-client (0.8 to 0.11) inside it."""

from typing import Any

from ..checks import bulk, metadata, pixels, search, storing
from ..exchange import MIB, Ask, Body
from ..findings import Client, Severity
from ..subjects import SERIES, STUDY, Kind
from ..trial_object import quoted_multipart, quoted_multipart_type
from .media_types import DICOM_JSON, FRAMES, FRAMES_QUOTED, OBJECT_PARTS, OCTET_STREAM_PARTS

# mapParams in qido.js: always these, encoded by encodeURIComponent
_LIST = "limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060%2C00080090%2C00100030"
_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"
# what no patient is called and no study is
_NOBODY = "zzqxjvkwy"


def _ask(name: str, path: str, effect: str, **rest: Any) -> Ask:
    rest.setdefault("accept", DICOM_JSON)
    return Ask(client=Client.OHIF, name=name, path=path, effect=effect, **rest)


def _filter(name: str, query: str, *checks: Any, severity: Severity = Severity.LIMITED, **rest: Any) -> Ask:
    return _ask(
        name,
        "/studies",
        "This filter of the study list does not work.",
        query=f"{query}&{_LIST}",
        severity=severity,
        checks=checks,
        **rest,
    )


_FINDS_STUDY = search.finds(STUDY, "study")

REQUESTS: tuple[Ask, ...] = (
    _ask(
        "study list",
        "/studies",
        "The study list stays empty.",
        query=_LIST,
        checks=(
            search.modality_has_value,
            search.identified_by(STUDY),
            *search.WELL_FORMED,
            search.columns(search.STUDY_COLUMNS),
            search.at_most(101),
        ),
    ),
    _ask(
        "first two studies",
        "/studies",
        "The study list stays empty.",
        query=_LIST.replace("limit=101", "limit=2"),
        checks=(search.at_most(2),),
    ),
    _ask(
        "next page of studies",
        "/studies",
        "The second page of the study list stays empty.",
        query=_LIST.replace("limit=101&offset=0", "limit=1&offset=1"),
        checks=(search.at_most(1), search.continues("first two studies")),
    ),
    _filter("filter by name", "PatientName=*{patient_name}*", _FINDS_STUDY),
    _filter("filter by a name that nobody has", f"PatientName=*{_NOBODY}*", search.finds_nothing),
    _filter("filter by MRN", "00100020=*{patient_id}*", _FINDS_STUDY),
    _filter("filter by accession number", "AccessionNumber=*{accession_number}*", _FINDS_STUDY),
    _filter("filter by description", "StudyDescription=*{study_description}*", _FINDS_STUDY),
    _filter("filter by modalities", "ModalitiesInStudy={modality}%2CZZ", _FINDS_STUDY),
    _filter("filter by a modality that there is not", "ModalitiesInStudy=ZZ", search.finds_nothing),
    _filter("filter by date", "StudyDate={study_date}-{study_date}", _FINDS_STUDY),
    _filter("filter by dates without studies", "StudyDate=18000101-18000102", search.finds_nothing),
    _filter(
        "one study",
        "StudyInstanceUID={study}",
        search.finds(STUDY, "study"),
        search.finds_only(STUDY, "study"),
        search.modality_has_value,
        severity=Severity.BREAKS,
    ),
    _filter("several studies", "StudyInstanceUID={study}%5C{other_study}", search.finds_both),
    _ask(
        "series in the study list",
        "/studies/{study}/series",
        "A study in the list cannot be unfolded.",
        query="includefield=0008103E%2C00080021",
        checks=(search.identified_by(SERIES), search.columns(search.SERIES_COLUMNS)),
    ),
    _ask(
        "series of a study",
        "/studies/{study}/series",
        "A study does not open.",
        checks=(
            search.identified_by(SERIES),
            search.modality_has_value,
            *search.WELL_FORMED,
            search.columns(search.SERIES_COLUMNS),
        ),
    ),
    _ask(
        "series metadata",
        "/studies/{study}/series/{series}/metadata",
        "A study opens without images.",
        of=Kind.IMAGE,
        statuses=(200,),
        slow_after=5.0,
        limit=64 * MIB,
        checks=(
            metadata.identifies_instances,
            metadata.has_the_instance,
            metadata.as_many_as_counted,
            metadata.describes_pixels,
            *search.WELL_FORMED,
            metadata.numbers_are_numbers,
            metadata.pixel_data_not_inline,
            metadata.compressed_on_the_way,
        ),
    ),
    _ask(
        "series metadata, OHIF before 3.9",
        "/studies/{study}/series/{series}/metadata",
        "A study opens without images.",
        of=Kind.IMAGE,
        # two headers that XMLHttpRequest joins
        accept=f"{DICOM_JSON}, {FRAMES}",
        statuses=(200,),
        severity=Severity.LIMITED,
        slow_after=5.0,
        limit=64 * MIB,
        checks=(metadata.has_the_instance,),
    ),
    _ask(
        "study metadata",
        "/studies/{study}/metadata",
        "A study does not open where enableStudyLazyLoad is off.",
        of=Kind.IMAGE,
        statuses=(200,),
        severity=Severity.LIMITED,
        slow_after=10.0,
        limit=64 * MIB,
        checks=(metadata.identifies_instances, metadata.has_the_instance),
    ),
    _ask(
        "frame",
        f"{_INSTANCE}/frames/1",
        "Images stay black.",
        of=Kind.IMAGE,
        accept=FRAMES,
        body=Body.PARTS,
        statuses=(200, 206),
        limit=64 * MIB,
        checks=(pixels.parts(1), pixels.part_heads, pixels.transfer_syntax_told, pixels.frames_decode),
    ),
    _ask(
        "frame, quoted Accept",
        f"{_INSTANCE}/frames/1",
        "Images stay black without omitQuotationForMultipartRequest.",
        of=Kind.IMAGE,
        accept=FRAMES_QUOTED,
        body=Body.PARTS,
        statuses=(200, 206),
        severity=Severity.LIMITED,
        limit=64 * MIB,
        checks=(pixels.parts(1),),
    ),
    _ask(
        "thumbnail",
        f"{_INSTANCE}/thumbnail",
        "There are no thumbnails with thumbnailRendering 'thumbnail'; 'wadors' does without.",
        of=Kind.IMAGE,
        accept="image/jpeg",
        body=Body.SINGLE,
        statuses=(200,),
        severity=Severity.NOTE,
        checks=(pixels.image_comes,),
    ),
    _ask(
        "rendered image",
        f"{_INSTANCE}/rendered",
        "There are no thumbnails with thumbnailRendering 'rendered'; 'wadors' does without.",
        of=Kind.IMAGE,
        accept="image/jpeg",
        body=Body.SINGLE,
        statuses=(200,),
        severity=Severity.NOTE,
        checks=(pixels.image_comes,),
    ),
    _ask(
        "bulk data",
        "{bulk_data_url}",
        "Overlays, palettes and ICC profiles that are bulk data are missing.",
        of=Kind.BULK_DATA,
        accept=OCTET_STREAM_PARTS,
        body=Body.EITHER,
        statuses=(200, 206),
        checks=(bulk.uri_stays_on_the_server, bulk.not_empty),
    ),
    _ask(
        "waveform",
        "{bulk_data_url}",
        "ECGs stay blank.",
        of=Kind.WAVEFORM,
        accept="application/octet-stream",
        body=Body.SINGLE,
        statuses=(200,),
        checks=(bulk.uri_stays_on_the_server,),
    ),
    _ask(
        "PDF",
        "{bulk_data_url}",
        "PDF documents stay blank.",
        of=Kind.DOCUMENT,
        # retrieveBulkData with mediaTypes of the document and of bytes
        accept=f'multipart/related; type="application/pdf", {OCTET_STREAM_PARTS}',
        body=Body.EITHER,
        statuses=(200,),
        checks=(bulk.begins_with(b"%PDF", "00420012", "application/pdf"),),
    ),
    _ask(
        "segmentation",
        _INSTANCE,
        "Segmentations cannot be laid over the images.",
        of=Kind.SEGMENTATION,
        accept=OBJECT_PARTS,
        body=Body.PARTS,
        statuses=(200, 206),
        slow_after=5.0,
        limit=64 * MIB,
        checks=(pixels.parts(1),),
    ),
    _ask(
        "structured report",
        "/studies/{study}/series/{series}/metadata",
        "Measurements of structured reports cannot be loaded.",
        of=Kind.REPORT,
        statuses=(200,),
        checks=(metadata.identifies_instances, metadata.has_the_instance),
    ),
    _ask(
        "image by WADO-URI",
        "{wado_url}",
        "imageRendering 'wadouri' cannot be used; 'wadors' does without.",
        query="requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
        "&contentType=application/dicom&transferSyntax=*",
        of=Kind.IMAGE,
        accept="*/*",
        body=Body.SINGLE,
        statuses=(200,),
        severity=Severity.NOTE,
        limit=64 * MIB,
    ),
    _ask(
        "store",
        "/studies",
        "Measurements, segmentations and uploads cannot be saved.",
        of=Kind.STORED,
        method="POST",
        accept="*/*",
        headers={"Content-Type": quoted_multipart_type()},
        content=quoted_multipart,
        body=Body.STORE_RESPONSE,
        statuses=(200, 202),
        checks=(storing.stored,),
    ),
)
