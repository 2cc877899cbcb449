"""`fileroom keys create | list | revoke`: API keys, by which machines get in over HTTP."""

import datetime as dt
import sys
from typing import TYPE_CHECKING, Any

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import is_terminal, write_json, write_line, write_notice, write_table

if TYPE_CHECKING:
    from fileroom_storage.storage import ApiKey

_PERMISSIONS = ("read", "write", "delete", "admin")


@click.group("keys")
def keys() -> None:
    """Make, list and revoke API keys, by which machines get in over HTTP."""


@keys.command("create", epilog="Example: fileroom keys create ct-gateway --permission write --issuer HOSPITAL_A")
@click.argument("name")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    required=True,
    type=click.Choice(_PERMISSIONS),
    help="May be repeated. admin is all of them.",
)
@click.option("--issuer", "issuers", multiple=True, help="See this issuer's patients only; may be repeated.")
@click.option("--days", type=click.IntRange(1, 36_500), help="It is over after so many days.  [default: never]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def create(
    configuration: Configuration,
    name: str,
    permissions: tuple[str, ...],
    issuers: tuple[str, ...],
    days: int | None,
    as_json: bool,
) -> None:
    """Make a key and write it, this once. Send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`.

    NAME is what the key is for; it stands in the list, and wherever is told who did something.
    """
    from fileroom_server.wiring import new_or_existing_storage

    if not name.strip() or not name.isprintable() or len(name) > 255 or name.startswith("-"):
        raise click.BadParameter("write a name of 1 to 255 printable characters", param_hint="NAME")
    expires_at = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(days=days) if days else None
    with new_or_existing_storage(configuration) as storage:
        scope = frozenset(issuers) if issuers else None
        key, text = storage.api_keys.create(name.strip(), permissions, scope, expires_at)
    if as_json:
        write_json({**_document(key), "key": text})
    else:
        write_line(text)
        write_notice("This key is not shown again. Send it as `Authorization: Bearer …` or `X-API-Key: …`.")
    if "api_keys" not in configuration.http.authentication.methods:
        write_notice('Keys are not asked for yet: write methods = ["api_keys"] in [http.authentication].')


@keys.command("list", epilog="Example: fileroom keys list --json")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def list_keys(configuration: Configuration, as_json: bool) -> None:
    """List all keys that there ever were; what could be used as one is not kept."""
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        found = storage.api_keys.keys()
    if as_json:
        write_json([_document(key) for key in found])
        return
    if not found and is_terminal(sys.stdout):
        write_notice("There are no keys. `fileroom keys create NAME --permission read` makes one.")
        return
    headings = ("ID", "Name", "Permissions", "Issuers", "Created", "State")
    rows = [
        (
            key.identifier,
            key.name,
            " ".join(_ordered(key)),
            "all" if key.scope is None else " ".join(sorted(key.scope)),
            _moment(key.created_at),
            _state(key),
        )
        for key in found
    ]
    write_table(headings, rows)


@keys.command("revoke", epilog="Example: fileroom keys revoke ct-gateway")
@click.argument("name")
@with_configuration
def revoke(configuration: Configuration, name: str) -> None:
    """End a key, by its name or ID. Running servers let it in no more after a few seconds."""
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        key = storage.api_keys.revoke(name)
    write_line(f"The key {key.name} ({key.identifier}) is revoked.")


def _document(key: "ApiKey") -> dict[str, Any]:
    return {
        "id": key.identifier,
        "name": key.name,
        "permissions": _ordered(key),
        "issuers": None if key.scope is None else sorted(key.scope),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def _ordered(key: "ApiKey") -> list[str]:
    return [permission for permission in _PERMISSIONS if permission in key.permissions]


def _state(key: "ApiKey") -> str:
    if key.revoked_at is not None:
        return f"revoked {_moment(key.revoked_at)}"
    if key.expires_at is None:
        return "usable"
    is_usable = key.is_usable(dt.datetime.now(dt.UTC).replace(tzinfo=None))
    return f"{'until' if is_usable else 'over since'} {_moment(key.expires_at)}"


def _moment(moment: dt.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
