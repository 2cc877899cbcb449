"""The configuration of the viewer, written for this server as its client sees it."""

from pathlib import Path
from typing import Any

import orjson

from .authentication_settings import ViewerLogin

_NAME = "fileroom"
_DICOMWEB = "@ohif/extension-default.dataSourcesModule.dicomweb"

_TEMPLATE = """\
// Made by fileroom at each request. What a site wants otherwise stands in its viewer-config.js, which is added below.
window.config = {configuration};

// The server has filtered already, and knows "*" and names without their accents; the list need not do it again.
window.config.customizationService.push({{
  'workList.columns': {{ $apply: columns => columns.map(column => ({{ ...column, filterFn: () => true }})) }},
}});
"""

# The study list asks once for so many, the newest first, and pages through them itself.
_LISTED_STUDIES = 1000


def viewer_config(
    base_path: str, viewer_path: str, dicomweb_path: str, additions: Path | None, login: ViewerLogin | None = None
) -> bytes:
    """`app-config.js`. The paths are those of URLs: of fileroom, the viewer, DICOMweb, without a slash at the end."""
    configuration = _configuration(base_path, viewer_path, dicomweb_path)
    if login is not None:
        configuration["oidc"] = [_login(login)]
    document = orjson.dumps(configuration, option=orjson.OPT_INDENT_2).decode()
    script = _TEMPLATE.format(configuration=document).encode()
    try:
        return script + (b"\n" + additions.read_bytes() if additions is not None else b"")
    except FileNotFoundError:
        return script


def _login(login: ViewerLogin) -> dict[str, Any]:
    """How OHIF logs in; its paths are below the viewer's."""
    return {
        "authority": login.issuer,
        "client_id": login.client_id,
        "scope": login.scope,
        "response_type": "code",  # with PKCE
        "redirect_uri": "/callback",
        "silent_redirect_uri": "/silent-refresh.html",
        # "/" would be taken for a route of OHIF's own, which is that of a study here
        "post_logout_redirect_uri": "/logged-out.html",
        "automaticSilentRenew": True,
        "revokeAccessTokenOnSignout": True,
    }


def _configuration(base_path: str, viewer_path: str, dicomweb_path: str) -> dict[str, Any]:
    return {
        "name": "config/fileroom.js",
        "routerBasename": viewer_path,
        "extensions": [],
        "modes": [],  # all that are built in
        "customizationService": [],
        "showStudyList": True,
        "maxNumberOfWebWorkers": 3,
        "showWarningMessageForCrossOrigin": True,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "experimentalStudyBrowserSort": False,
        "strictZSpacingForVolumeViewport": True,
        "groupEnabledModesFirst": True,
        "allowMultiSelectExport": False,
        # six connections are what a browser opens to a server; more requests would wait in it and not be taken back
        "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
        "showErrorDetails": "always",
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": _NAME,
        "dataSources": [
            {
                "namespace": _DICOMWEB,
                "sourceName": _NAME,
                "configuration": {
                    "friendlyName": "fileroom",
                    "name": _NAME,
                    "qidoRoot": dicomweb_path,
                    "wadoRoot": dicomweb_path,
                    "stowRoot": dicomweb_path,
                    "wadoUriRoot": f"{base_path}/wado",
                    "queryLimit": _LISTED_STUDIES,
                    "qidoSupportsIncludeField": False,
                    "imageRendering": "wadors",
                    "thumbnailRendering": "thumbnail",  # "wadors" has none in the study list
                    "thumbnailRequestStrategy": "fetch",
                    "enableStudyLazyLoad": True,
                    "supportsFuzzyMatching": False,
                    "supportsWildcard": True,
                    "supportsReject": False,
                    "dicomUploadEnabled": True,
                    "omitQuotationForMultipartRequest": True,
                    "bulkDataURI": {"enabled": True},
                },
            }
        ],
    }
