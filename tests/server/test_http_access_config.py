"""[http.authentication] and [http.tls]: what can be written, what is refused, and what DICOMweb gets of it."""

from pathlib import Path
from typing import Any

import pytest

from fileroom_dicomweb.access import Permission
from fileroom_server.config import Configuration
from fileroom_server.config_errors import ConfigurationError
from fileroom_server.config_sources import load_configuration
from fileroom_server.http_authentication import authentication_settings
from tests.server.cli.commands import fileroom
from tests.server.test_config_sources import _no_variables, problems

__all__ = ["_no_variables"]

OIDC = {"methods": ["oidc"], "issuer": "https://login.example.org/realms/hospital", "audience": ["fileroom"]}


def configuration(**section: Any) -> Configuration:
    return Configuration.model_validate({"http": {"authentication": section}})


def test_nobody_is_asked_by_default() -> None:
    assert authentication_settings(Configuration()) is None
    assert Configuration().http.is_open


def test_everything() -> None:
    scopes = [{"value": "north", "issuers": ["NORTH", "OLD"]}, {"value": "radiology", "issuers": ["*"]}]
    settings = authentication_settings(
        configuration(
            **{**OIDC, "methods": ["oidc", "api_keys"]},
            ca_file="/etc/ca.pem",
            jwks_url="http://localhost:8080/certs",
            clock_skew=5,
            role_claims=["groups"],
            read_roles=["doctor", "nurse"],
            admin_roles=[],
            scope_claim="organization",
            scopes=scopes,
            viewer_client_id="viewer",
        )
    )
    assert settings is not None
    assert settings.api_keys
    assert settings.viewer is not None
    assert (settings.viewer.issuer, settings.viewer.client_id) == (OIDC["issuer"], "viewer")
    oidc = settings.oidc
    assert oidc is not None
    assert (oidc.audience, oidc.ca_file, oidc.clock_skew) == (("fileroom",), Path("/etc/ca.pem"), 5)
    assert oidc.roles[Permission.READ] == {"doctor", "nurse"}
    assert oidc.roles[Permission.ADMIN] == frozenset()
    assert oidc.scopes == {"north": frozenset({"NORTH", "OLD"}), "radiology": None}


def test_only_keys() -> None:
    settings = authentication_settings(configuration(methods=["api_keys"], viewer_client_id="viewer"))
    assert settings is not None
    assert (settings.oidc, settings.api_keys, settings.viewer) == (None, True, None)
    only_tokens = authentication_settings(configuration(**OIDC))
    assert only_tokens is not None
    assert not only_tokens.api_keys


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "METHODS": "oidc, api_keys",
        "ISSUER": OIDC["issuer"],
        "AUDIENCE": "fileroom,other",
        "SCOPE_CLAIM": "organization",
        "SCOPES": '[{"value": "north", "issuers": ["NORTH"]}]',
    }.items():
        monkeypatch.setenv(f"FILEROOM_HTTP__AUTHENTICATION__{name}", str(value))
    section = load_configuration().configuration.http.authentication
    assert (section.methods, section.audience) == (("oidc", "api_keys"), ("fileroom", "other"))
    assert [(scope.value, scope.issuers) for scope in section.scopes] == [("north", ("NORTH",))]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"methods": ["password"]}, "write one of 'oidc' or 'api_keys'"),
        ({"methods": ["oidc"], "audience": ["fileroom"]}, "issuer is empty"),
        ({**OIDC, "audience": []}, "audience is empty"),
        ({**OIDC, "issuer": "http://login.example.org"}, "begins with https://"),
        ({**OIDC, "issuer": "login.example.org"}, "begins with https://"),
        ({**OIDC, "issuer": "https://login.example.org/?realm=1"}, "begins with https://"),
        ({**OIDC, "jwks_url": "http://keycloak:8080/certs"}, "begins with https://"),
        ({**OIDC, "read_roles": [""]}, "names that are not empty"),
        ({**OIDC, "name_claim": ""}, "names that are not empty"),
        ({**OIDC, "clock_skew": 3600}, "at most 600"),
        ({**OIDC, "scopes": [{"value": "a", "issuers": ["A"]}]}, "no scope_claim"),
        ({**OIDC, "scope_claim": "a", "scopes": [{"value": "a", "issuer": "A"}]}, "unknown key"),
    ],
)
def test_what_is_refused(section: dict[str, Any], expected: str) -> None:
    told = problems(**{f"http__authentication__{name}": value for name, value in section.items()})
    assert expected in "\n".join(told)


def test_a_loopback_issuer_needs_no_tls() -> None:
    for host in ("127.0.0.1:8080", "localhost", "[::1]:80"):
        assert configuration(**{**OIDC, "issuer": f"http://{host}/realms/a"}).http.authentication.issuer


class TestClosedByDefault:
    """DESIGN 3.7."""

    @pytest.mark.parametrize("section", [{"methods": ["api_keys"]}, OIDC])
    def test_with_authentication_it_may_listen_everywhere(self, section: dict[str, Any]) -> None:
        overrides = {f"http.authentication.{name}": value for name, value in section.items()}
        load_configuration(None, {"http.host": "0.0.0.0", **overrides})

    def test_clients_with_certificates_are_known(self, tmp_path: Path) -> None:
        files = {name: tmp_path / name for name in ("certificate", "key", "client_ca")}
        for file in files.values():
            file.touch()
        tls = {f"http.tls.{name}": str(file) for name, file in files.items()}
        load_configuration(None, {"http.host": "0.0.0.0", **tls})
        del tls["http.tls.client_ca"]
        with pytest.raises(ConfigurationError, match="HTTP has no authentication"):
            load_configuration(None, {"http.host": "0.0.0.0", **tls})

    def test_an_issuer_alone_lets_nobody_in_and_nobody_out(self) -> None:
        (problem,) = problems(http__host="0.0.0.0", http__authentication__issuer=OIDC["issuer"])
        assert "write methods in [http.authentication]" in problem


def test_tls_is_given_whole(tmp_path: Path) -> None:
    assert "given together" in problems(http__tls__certificate="a.pem")[0]
    assert "no certificate" in problems(http__tls__client_ca="a.pem")[0]
    assert (
        "http.authentication.ca_file: cannot be read"
        in problems(http__authentication__ca_file=str(tmp_path / "none"))[0]
    )


def test_show() -> None:
    scopes = '[{"value": "north", "issuers": ["NORTH"]}]'
    variables = {"SCOPE_CLAIM": "organization", "SCOPES": scopes}
    shown = fileroom(
        "config", "show", **{f"FILEROOM_HTTP__AUTHENTICATION__{name}": value for name, value in variables.items()}
    )
    assert shown.returncode == 0, shown.stderr
    assert 'http.authentication.scopes\t[{"value":"north","issuers":["NORTH"]}]\tenvironment' in shown.stdout
