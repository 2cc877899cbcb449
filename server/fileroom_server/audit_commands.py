"""`fileroom audit list | verify | heads | export`: what was done, and whether the log of it is whole."""

import datetime as dt
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import count, is_terminal, write_json, write_line, write_notice, write_table

if TYPE_CHECKING:
    from fileroom_storage.index.audit.chain import Head
    from fileroom_storage.index.audit.reading import AuditRow
    from fileroom_storage.index.audit.recorder import AuditLog

_SPAN = re.compile(r"([0-9]+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_OUTCOMES = {0: "success", 4: "minor failure", 8: "serious failure", 12: "major failure"}


class Moment(click.ParamType[dt.datetime]):
    """A date or time with or without zone, or a span of time before now; as UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        span = _SPAN.fullmatch(str(value))
        if span:
            return dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(**{_UNITS[span[2]]: int(span[1])})
        try:
            moment = dt.datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f'"{value}" is no time; write 2026-11-27, 2026-11-27T09:30, or 90m, 12h, 7d ago', param, ctx)
        return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _selection(command: Any) -> Any:
    command = click.option("--until", type=Moment(), metavar="TIME", help="Only what was done before this.")(command)
    since = "Only what was done from this on: 2026-11-27, 2026-11-27T09:30 (UTC), or 90m, 12h, 7d ago."
    command = click.option("--since", type=Moment(), metavar="TIME", help=since)(command)
    return click.option("--study", metavar="UID", help="Only what was done to this study.")(command)


@click.group("audit")
def audit() -> None:
    """Show, verify and export the audit log: who did what to which study, from where, with what outcome."""


@audit.command("list", epilog="Example: fileroom audit list --study 1.2.826.0.1.3680043.8.498.1 --since 7d")
@_selection
@click.option("--json", "as_json", is_flag=True, help="Write JSON, with what was searched for.")
@with_configuration
def list_rows(
    configuration: Configuration,
    study: str | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    as_json: bool,
) -> None:
    """List what was done, oldest first. This is patient data."""
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        rows = list(storage.audit.rows(study=study, since=since, until=until))
        _record_use(storage.audit, "list", study)
    if as_json:
        write_json([_document(row) for row in rows])
        return
    if not rows and is_terminal(sys.stdout):
        write_notice("There is nothing in the audit log of that.")
        return
    headings = ("Row", "Time", "Event", "", "Outcome", "Who", "From", "Study", "Patient ID", "What")
    write_table(headings, (_cells(row) for row in rows))


@audit.command("verify", epilog="Example: fileroom audit verify --heads /mnt/elsewhere/audit-heads")
@click.option(
    "--heads",
    "heads_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Look for these rows too, which `fileroom audit heads` wrote earlier.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def verify(configuration: Configuration, heads_file: Path | None, as_json: bool) -> None:
    """Tell whether any row was changed, removed, inserted or moved, and where. Exits with 1 if so.

    Whoever may write to the database can also cut off the newest rows, or make the whole log anew. Only what is kept
    outside of the database can tell: the collector has every row's hash, and `fileroom audit heads` writes the newest.
    """
    from fileroom_server.wiring import existing_storage

    known = _read_heads(heads_file) if heads_file is not None else []
    with existing_storage(configuration) as storage:
        found = storage.audit.verify(known)
    if as_json:
        write_json(
            {
                "unbroken": found.is_unbroken,
                "rows": found.rows,
                "heads": [head._asdict() for head in found.heads],
                "breaches": [
                    {"chain": one.chain, "sequence": one.sequence, "reason": one.reason} for one in found.breaches
                ],
            }
        )
    elif found.is_unbroken:
        write_line(f"The audit log is unbroken: {count(found.rows, 'row')}.")
    else:
        rows = [(f"{breach.chain}:{breach.sequence}", breach.reason) for breach in found.breaches]
        write_table(("Row", "What is wrong"), rows)
        write_notice("The audit log is not what was written. Keep the database as it is, and compare a backup of it.")
    sys.exit(0 if found.is_unbroken else 1)


@audit.command("heads", epilog="Example: fileroom audit heads > /mnt/elsewhere/audit-heads")
@with_configuration
def write_heads(configuration: Configuration) -> None:
    """Write the newest row of each chain: chain, sequence and hash. Kept elsewhere, it shows when rows are cut off."""
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        found = storage.audit.heads()
    for head in found:
        write_line(f"{head.chain} {head.sequence} {head.hash}")


@audit.command("export", epilog="Example: fileroom audit export --since 2026-11-01 > november.xml")
@_selection
@with_configuration
def export(
    configuration: Configuration, study: str | None, since: dt.datetime | None, until: dt.datetime | None
) -> None:
    """Write DICOM audit messages (PS3.15 A.5) in XML, oldest first, within one element AuditMessages.

    This is patient data. What a collector is sent is set by [audit] syslog_host.
    """
    from xml.etree.ElementTree import tostring

    from fileroom_server.audit_message import audit_message
    from fileroom_server.wiring import existing_storage

    with existing_storage(configuration) as storage:
        write_line('<?xml version="1.0" encoding="UTF-8"?>\n<AuditMessages>')
        for row in storage.audit.rows(study=study, since=since, until=until):
            write_line(tostring(audit_message(row), encoding="unicode"))
        write_line("</AuditMessages>")
        _record_use(storage.audit, "export", study)


def _record_use(log: "AuditLog", how: str, study: str | None) -> None:
    """PS3.15 A.5.3.2: whoever reads the log is in it."""
    from fileroom_server.command_actor import command_actor
    from fileroom_storage.index.audit.event import Action, AuditEvent, EventId

    actor = command_actor()
    detail = {"by": f"fileroom audit {how}"}
    log.record_at_once(AuditEvent(EventId.AUDIT_LOG_USED, Action.READ, actor, study_instance_uid=study, detail=detail))


def _read_heads(path: Path) -> "list[Head]":
    from fileroom_storage.index.audit.chain import Head

    heads = []
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        words = line.split()
        if not re.fullmatch(r"\d+ \d+ [0-9a-f]{64}", " ".join(words)):
            raise click.ClickException(f"{path} is no file that `fileroom audit heads` wrote")
        heads.append(Head(int(words[0]), int(words[1]), words[2]))
    return heads


def _cells(row: "AuditRow") -> tuple[object, ...]:
    from fileroom_server.audit_message import meaning

    name = meaning(row.event) + (f": {meaning(row.type)}" if row.type else "")
    who = row.user_id or row.source
    at = f"{row.at:%Y-%m-%d %H:%M:%S}Z"
    outcome = _OUTCOMES.get(row.outcome, row.outcome)
    place = (row.remote_address, row.study_instance_uid, row.patient_id)
    return (row.position, at, name, row.action, outcome, who, *place, _what(row))


def _what(row: "AuditRow") -> str:
    """The rest in a few words; of a query that there was one, as it may hold names."""
    detail = row.detail
    parts = [str(detail[name]) for name in ("by", "path", "reason") if name in detail]
    if "destination" in detail:
        parts.append(f"to {detail['destination']}")
    instances = sum(row.sop_classes.values())
    if instances:
        parts.append(count(instances, "instance"))
    if row.query:
        parts.append("with a query")
    if "times" in detail:
        parts.append(f"{detail['times']} times more")
    return ", ".join(parts)


def _document(row: "AuditRow") -> dict[str, Any]:
    from fileroom_server.audit_message import meaning

    return {
        "chain": row.chain,
        "sequence": row.sequence,
        "at": row.at,
        "event": {"code": row.event, "meaning": meaning(row.event)},
        "type": {"code": row.type, "meaning": meaning(row.type)} if row.type else None,
        "action": row.action,
        "outcome": row.outcome,
        "source": row.source,
        "user_id": row.user_id,
        "remote_address": row.remote_address,
        "called_ae_title": row.called_ae_title,
        "study_instance_uid": row.study_instance_uid,
        "patient_id": row.patient_id,
        "detail": row.detail,
        "hash": row.hash,
    }
