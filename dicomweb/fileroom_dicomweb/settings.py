"""What can be set about DICOMweb; fileroom_server maps its configuration to this."""

from dataclasses import dataclass
from pathlib import Path

from .authentication_settings import AuthenticationSettings


@dataclass(frozen=True, slots=True)
class DicomwebSettings:
    """How DICOMweb is served.

    `base_url` is what clients see before the prefix, sub-path included; None takes it from each request.
    `trusted_proxies` are addresses or networks whose Forwarded and X-Forwarded-* headers count, `"*"` any;
    `trusted_hops` is how many of them stand in a row. `maximum_results` bounds one answer of a search,
    `idle_timeout` the seconds a client may stay silent in the middle of a request, `maximum_renderings` how many
    pictures and transcoded objects are made at a time; others wait for at most `rendering_patience` seconds. None is no
    bound.
    `viewer` is the folder that the OHIF viewer is in or will be, `viewer_config` a script added to its configuration.
    `allow_delete` lets clients delete, reject and restore; nothing is purged over HTTP.
    `metadata_cache_size` bounds, in bytes, what is kept on the disk of metadata that was made; 0 keeps nothing.
    `cors_origins` are the origins whose pages may use DICOMweb, `"*"` any.
    `authentication` says who gets in; None is everybody.
    """

    prefix: str = "/dicom-web"
    base_url: str | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    trusted_hops: int = 1
    maximum_body_size: int | None = None
    viewer: Path | None = None
    viewer_config: Path | None = None
    maximum_results: int | None = None
    idle_timeout: float | None = 120.0
    maximum_renderings: int | None = None
    rendering_patience: float = 30.0
    cors_origins: tuple[str, ...] = ()
    allow_delete: bool = True
    metadata_cache_size: int = 1 << 30
    authentication: AuthenticationSettings | None = None
