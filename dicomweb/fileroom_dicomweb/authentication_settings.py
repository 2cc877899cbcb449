"""What can be set about who gets in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .access import Permission


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """An OpenID Connect issuer whose access tokens are believed.

    `audience`: a token has to be for one of these. `jwks_url` None: as discovery tells; `ca_file` None: the system's
    certificates. Claims are named by path, as in `realm_access.roles`. `roles` give permissions. Without `scope_claim`
    everybody sees all; with it, its values are issuers of Patient ID, or, where there are any `scopes`, what these say:
    value → issuers, None for all.
    """

    issuer: str
    audience: tuple[str, ...]
    jwks_url: str | None = None
    ca_file: Path | None = None
    clock_skew: float = 60.0
    name_claim: str = "preferred_username"
    role_claims: tuple[str, ...] = ("realm_access.roles",)
    roles: Mapping[Permission, frozenset[str]] = field(default_factory=dict)
    scope_claim: str | None = None
    scopes: Mapping[str, frozenset[str] | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ViewerLogin:
    """How the viewer logs its users in: as a public client of the issuer, by authorization code with PKCE."""

    issuer: str
    client_id: str
    scope: str = "openid"


@dataclass(frozen=True, slots=True)
class AuthenticationSettings:
    """By what one gets in: a token of `oidc`, an API key, or either."""

    oidc: OidcSettings | None = None
    api_keys: bool = True
    viewer: ViewerLogin | None = None
