"""The configuration of who gets in over HTTP, as fileroom_dicomweb takes it."""

from pathlib import Path

from fileroom_dicomweb.access import Permission
from fileroom_dicomweb.authentication_settings import AuthenticationSettings, OidcSettings, ViewerLogin
from fileroom_server.config import Configuration
from fileroom_server.config_http_access import ANY_ISSUER, AuthenticationConfiguration


def authentication_settings(configuration: Configuration) -> AuthenticationSettings | None:
    """None where everybody gets in who reaches the port."""
    section = configuration.http.authentication
    if not section.methods:
        return None
    with_oidc = "oidc" in section.methods
    return AuthenticationSettings(
        oidc=_oidc_settings(section) if with_oidc else None,
        api_keys="api_keys" in section.methods,
        viewer=ViewerLogin(section.issuer, section.viewer_client_id, section.viewer_scope)
        if with_oidc and section.viewer_client_id
        else None,
    )


def _oidc_settings(section: AuthenticationConfiguration) -> OidcSettings:
    return OidcSettings(
        issuer=section.issuer,
        audience=section.audience,
        jwks_url=section.jwks_url or None,
        ca_file=Path(section.ca_file) if section.ca_file else None,
        clock_skew=section.clock_skew,
        name_claim=section.name_claim,
        role_claims=section.role_claims,
        roles={
            Permission.READ: frozenset(section.read_roles),
            Permission.WRITE: frozenset(section.write_roles),
            Permission.DELETE: frozenset(section.delete_roles),
            Permission.ADMIN: frozenset(section.admin_roles),
        },
        scope_claim=section.scope_claim or None,
        scopes={
            scope.value: None if ANY_ISSUER in scope.issuers else frozenset(scope.issuers) for scope in section.scopes
        },
    )
