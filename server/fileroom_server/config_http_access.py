"""The sections [http.authentication] and [http.tls]: who gets in over HTTP, and by what certificate."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from fileroom_server.config_section import Section, separated_by_commas
from fileroom_server.config_values import is_loopback

ANY_ISSUER = "*"


def _name(value: str) -> str:
    if not value.strip():
        raise ValueError("write names that are not empty")
    return value


def _safe_url(value: str) -> str:
    parts = urlsplit(value)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if value and not (is_safe and parts.netloc and not parts.query and not parts.fragment):
        raise ValueError("write a URL that begins with https://; whoever can change keys on their way lets anybody in")
    return value


Names = Annotated[tuple[Annotated[str, AfterValidator(_name)], ...], NoDecode, BeforeValidator(separated_by_commas)]
SafeUrl = Annotated[str, AfterValidator(_safe_url)]


class ScopeConfiguration(Section):
    """What a value of the scope claim means: whose patients are seen."""

    value: Annotated[str, AfterValidator(_name)]
    issuers: tuple[Annotated[str, AfterValidator(_name)], ...]


class AuthenticationConfiguration(Section):
    methods: Annotated[tuple[Literal["oidc", "api_keys"], ...], NoDecode, BeforeValidator(separated_by_commas)] = ()
    issuer: SafeUrl = ""
    audience: Names = ()
    jwks_url: SafeUrl = ""
    ca_file: str = ""
    clock_skew: Annotated[float, Field(ge=0, le=600)] = 60
    name_claim: Annotated[str, AfterValidator(_name)] = "preferred_username"
    role_claims: Names = ("realm_access.roles",)
    read_roles: Names = ("fileroom-read",)
    write_roles: Names = ("fileroom-write",)
    delete_roles: Names = ("fileroom-delete",)
    admin_roles: Names = ("fileroom-admin",)
    scope_claim: str = ""
    scopes: tuple[ScopeConfiguration, ...] = ()
    viewer_client_id: str = ""
    viewer_scope: str = "openid"

    @model_validator(mode="after")
    def _whole(self) -> "AuthenticationConfiguration":
        if "oidc" in self.methods and not self.issuer:
            raise ValueError('methods has "oidc", but issuer is empty; write the URL of the issuer')
        if "oidc" in self.methods and not self.audience:
            # RFC 9068 4: else a token that its user gave to any other server would do here
            raise ValueError('methods has "oidc", but audience is empty; write what tokens for this server have as aud')
        if self.scopes and not self.scope_claim:
            raise ValueError("scopes are given, but no scope_claim whose values they are")
        return self


class TlsConfiguration(Section):
    certificate: str = ""
    key: str = ""
    client_ca: str = ""

    @model_validator(mode="after")
    def _whole(self) -> "TlsConfiguration":
        if bool(self.certificate) != bool(self.key):
            raise ValueError("certificate and key are given together, or neither is")
        if self.client_ca and not self.certificate:
            raise ValueError("client_ca is given, but no certificate; there is no TLS without one")
        return self


def unreadable_files(authentication: AuthenticationConfiguration) -> Iterator[tuple[str, str]]:
    """The keys that name files which cannot be read, each with the reason."""
    try:
        if authentication.ca_file:
            Path(authentication.ca_file).read_bytes()
    except OSError as error:
        yield "http.authentication.ca_file", error.strerror or type(error).__name__
