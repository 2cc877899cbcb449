"""Configurations of the viewers for the server that was examined, made of what was found to work."""

from html import escape
from typing import Any
from urllib.parse import quote

import orjson

from .examination import Examination
from .findings import Client
from .subjects import Kind

_FRAMES_OF_ONE_TYPE = "retrieve_instance_frames, media types given"

FORMATS = ("ohif", "weasis", "dicomweb-client")


def configuration(examination: Examination, name: str) -> str:
    """The text of one of FORMATS, ready for a file."""
    makers = {"ohif": ohif, "weasis": weasis, "dicomweb-client": dicomweb_client}
    return makers[name](examination)


def ohif(examination: Examination) -> str:
    """`app-config.js` of OHIF 3."""
    settings = {
        "routerBasename": "/",
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 3,
        "showWarningMessageForCrossOrigin": True,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "defaultDataSourceName": "pacs",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "pacs",
                "configuration": ohif_data_source(examination),
            }
        ],
    }
    document = orjson.dumps(settings, option=orjson.OPT_INDENT_2).decode()
    return f"// For {examination.plan.base_url}, made by `fileroom doctor`.\nwindow.config = {document};\n"


def ohif_data_source(examination: Examination) -> dict[str, Any]:
    """The configuration of OHIF's DICOMweb data source."""
    base_url, works = examination.plan.base_url, examination.works
    unquoted, quoted = works(Client.OHIF, "frame"), works(Client.OHIF, "frame, quoted Accept")
    frames = unquoted is not False or quoted is True
    by_uri = works(Client.OHIF, "image by WADO-URI") is True
    source: dict[str, Any] = {
        "friendlyName": "PACS",
        "name": "pacs",
        "qidoRoot": base_url,
        "wadoRoot": base_url,
        "stowRoot": base_url,
        "wadoUriRoot": examination.wado_url or f"{base_url}/wado",
        "qidoSupportsIncludeField": _includes_fields(examination),
        "supportsFuzzyMatching": works(Client.DICOMWEB_CLIENT, "search_for_studies, fuzzymatching") is True,
        "supportsWildcard": works(Client.OHIF, "filter by name") is not False,
        "supportsReject": False,
        "imageRendering": "wadouri" if by_uri and not frames else "wadors",
        "thumbnailRendering": _thumbnails(examination, frames=frames),
        "enableStudyLazyLoad": True,
        "omitQuotationForMultipartRequest": unquoted is not False or quoted is not True,
        "bulkDataURI": {"enabled": True},
    }
    if examination.bulk_data_origin:
        source["bulkDataURI"] |= {"startsWith": examination.bulk_data_origin, "prefixWith": _own_origin(base_url)}
    single = _single_parts(examination)
    if single:
        source["singlepart"] = single
    if works(Client.OHIF, "store"):
        source["dicomUploadEnabled"] = True
    return source


def _includes_fields(examination: Examination) -> bool:
    listed = examination.result(Client.OHIF, "study list")
    return listed is not None and all(finding.code != "attribute-missing" for finding in listed.findings)


def _thumbnails(examination: Examination, *, frames: bool) -> str:
    if frames:
        return "wadors"
    for rendering, request in (("thumbnail", "thumbnail"), ("rendered", "rendered image")):
        if examination.works(Client.OHIF, request):
            return rendering
    return "wadors"


def _single_parts(examination: Examination) -> str | None:
    """What to ask for without multipart, where only that is served."""
    in_parts = examination.works(Client.OHIF, "bulk data")
    single = examination.works(Client.OHIF, "waveform")
    return "bulkdata,video,pdf" if in_parts is False and single else None


def _own_origin(base_url: str) -> str:
    return "/".join(base_url.split("/", 3)[:3])


def weasis(examination: Examination) -> str:
    """A node for Weasis' dicomWebNodes.xml, and a link that opens a study."""
    base_url = examination.plan.base_url
    stores = examination.works(Client.DICOMWEB_CLIENT, "store_instances") is not False
    kind, usage = ("DICOMWEB", "BOTH") if stores else ("WADORS", "RETRIEVE")
    subject = examination.subjects.get(Kind.IMAGE) or examination.subjects.get(Kind.ANY)
    study = subject.values["study"] if subject else "STUDY_INSTANCE_UID"
    command = f'$dicom:rs --url "{base_url}" -r "studyUID={study}" --query-header "Accept: application/dicom+json"'
    link = quote(command, safe="").replace("--", "-%2D")  # no XML comment may hold two hyphens
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<!-- dicomWebNodes.xml of Weasis. This link opens a study:\n"
        f"     weasis://{link} -->\n"
        "<nodes>\n"
        f'  <node description="PACS" type="WEB" usageType="{usage}" tsuid="NONE" url="{escape(base_url)}" '
        f'webtype="{kind}" headers=""/>\n'
        "</nodes>\n"
    )


def dicomweb_client(examination: Examination) -> str:
    """The first lines of a script."""
    lines = [
        "from dicomweb_client import DICOMwebClient",
        "",
        f'client = DICOMwebClient("{examination.plan.base_url}")',
    ]
    lines.append("studies = client.search_for_studies(limit=10)")
    image = examination.subjects.get(Kind.IMAGE)
    if image:
        uids = ", ".join(f'"{image.values[level]}"' for level in ("study", "series", "instance"))
        lines.append(f"metadata = client.retrieve_instance_metadata({uids})")
        by_default = examination.works(Client.DICOMWEB_CLIENT, "retrieve_instance_frames")
        if by_default is False and examination.works(Client.DICOMWEB_CLIENT, _FRAMES_OF_ONE_TYPE):
            media_types = 'media_types=(("application/octet-stream", "1.2.840.10008.1.2.1"),)'
            lines.append(f"[frame] = client.retrieve_instance_frames({uids}, [1], {media_types})")
        elif by_default is not False:
            lines.append(f"[frame] = client.retrieve_instance_frames({uids}, [1])")
    return "\n".join(lines) + "\n"
