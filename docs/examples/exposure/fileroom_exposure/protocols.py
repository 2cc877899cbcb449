"""`fileroom exposure protocols` and /api/exposure/protocols: the highest exposure of each protocol."""

from typing import Any

import click
from flask import Blueprint, Response, jsonify
from sqlalchemy import func, select

from fileroom_exposure import IMAGE
from fileroom_server.plugin import with_plugin, write_json, write_table
from fileroom_storage.plugin import PluginContext


def protocols(context: PluginContext) -> list[dict[str, Any]]:
    highest = func.max(IMAGE.c.exposure)
    statement = select(IMAGE.c.protocol, func.count(), highest).group_by(IMAGE.c.protocol).order_by(IMAGE.c.protocol)
    with context.database.read() as connection:
        rows = connection.execute(statement.having(highest > context.section.unremarkable)).all()
    return [{"protocol": protocol, "images": images, "exposure": exposure} for protocol, images, exposure in rows]


@click.command("protocols", epilog="Example: fileroom exposure protocols --json")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_plugin("exposure")
def command(context: PluginContext, as_json: bool) -> None:
    """List protocols by their highest exposure."""
    found = protocols(context)
    if as_json:
        write_json(found)
    else:
        write_table(("Protocol", "Images", "mAs"), [tuple(row.values()) for row in found])


def blueprint(context: PluginContext) -> Blueprint:
    made = Blueprint("exposure", __name__)

    @made.get("/protocols")
    def list_protocols() -> Response:
        return jsonify(protocols(context))

    return made
