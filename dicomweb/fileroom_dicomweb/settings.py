"""What can be set about DICOMweb; fileroom_server maps its configuration to this."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DicomwebSettings:
    """How DICOMweb is served.

    `base_url` is what clients see before the prefix, sub-path included; None takes it from each request.
    `trusted_proxies` are addresses or networks whose Forwarded and X-Forwarded-* headers count, `"*"` any;
    `trusted_hops` is how many of them stand in a row. `maximum_results` bounds one answer of a search,
    `idle_timeout` the seconds a client may stay silent in the middle of a request. None is no bound.
    """

    prefix: str = "/dicom-web"
    base_url: str | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    trusted_hops: int = 1
    maximum_body_size: int | None = None
    maximum_results: int | None = None
    idle_timeout: float | None = 120.0
