"""The keys of [dicom.tls]: the certificate of this application entity, and whose it asks for."""

from typing import Literal

from pydantic import model_validator

from fileroom_server.config_section import Section


class DicomTlsConfiguration(Section):
    """TLS on the DICOM port; files are PEM, and are read again when they change."""

    certificate: str = ""
    key: str = ""
    key_password_file: str = ""
    client_ca: str = ""
    require_client_certificate: bool = False
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    required: bool = True

    @model_validator(mode="after")
    def _whole(self) -> "DicomTlsConfiguration":
        if not self.certificate and (self.key or self.key_password_file or self.client_ca):
            raise ValueError("certificate is missing: without it there is no TLS; name its PEM file")
        if self.require_client_certificate and not self.client_ca:
            raise ValueError("client_ca is missing: name the PEM file of those whose client certificates are accepted")
        return self

    @property
    def is_on(self) -> bool:
        return bool(self.certificate)


NO_CERTIFICATE = DicomTlsConfiguration()
