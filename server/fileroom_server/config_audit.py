"""The section [audit]: whether there is an audit log, and which collector its events are sent to."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from fileroom_server.config_section import Section
from fileroom_server.config_values import host_name


def _host_or_none(value: str) -> str:
    return value and host_name(value)


class AuditConfiguration(Section):
    enabled: bool = True
    syslog_host: Annotated[str, AfterValidator(_host_or_none)] = ""
    syslog_port: Annotated[int, Field(ge=1, le=65535)] = 6514
    syslog_transport: Literal["tls", "tcp", "udp"] = "tls"
    syslog_ca: str = ""
    syslog_certificate: str = ""
    syslog_private_key: str = ""
    syslog_facility: Annotated[int, Field(ge=0, le=23)] = 10
    syslog_confirm_time: Annotated[float, Field(ge=0, le=3600)] = 5

    @model_validator(mode="after")
    def _fits_together(self) -> "AuditConfiguration":
        if self.syslog_host and not self.enabled:
            raise ValueError("syslog_host names a collector, but enabled is false: there would be nothing to send")
        if self.syslog_private_key and not self.syslog_certificate:
            raise ValueError("syslog_private_key is given without the syslog_certificate that it belongs to")
        return self
