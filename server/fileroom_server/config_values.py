"""What keys of the configuration accept: AE titles, hosts, networks, certificates."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from fileroom_server.config_section import separated_by_commas


def _ae_title(value: str) -> str:
    # PS3.5 6.2, AE: 16 bytes of the default repertoire without backslash and control characters, not spaces only
    title = value.strip(" ")
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", title):
        raise ValueError("an AE title has 1 to 16 ASCII characters, no backslash, and not only spaces")
    return title


def host_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", value):
        raise ValueError("write a host name or an IP address; to listen, 0.0.0.0 means every interface")
    return value


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError('write addresses or networks such as "10.0.0.7" or "10.1.0.0/16"') from None
    return value


def _certificate(value: str) -> str:
    digits = re.sub(r"(?i)^sha-?256( fingerprint)?[:=]|:", "", value.strip())
    if re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        return f"sha256:{digits.lower()}"
    if not value.strip() or re.match(r"(?i)sha-?\d+\b", value):
        raise ValueError(
            "write a name of the certificate, or its fingerprint as "
            '"sha256:" with the 64 digits that `openssl x509 -noout -fingerprint -sha256` prints'
        )
    return value.strip()


AETitle = Annotated[str, AfterValidator(_ae_title)]
Host = Annotated[str, AfterValidator(host_name)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Networks = Annotated[
    tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(separated_by_commas)
]
Certificates = Annotated[
    tuple[Annotated[str, AfterValidator(_certificate)], ...], NoDecode, BeforeValidator(separated_by_commas)
]
