"""`fileroom check`: the index held against the object store, both ways."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fileroom_server.config import Configuration
from fileroom_server.config_options import with_configuration
from fileroom_server.output import count, is_terminal, write_json, write_line, write_notice, write_table

if TYPE_CHECKING:
    from fileroom_storage.storage import Finding, Storage


@click.command("check", epilog="Example: fileroom check --verify --data /srv/fileroom")
@click.option("--repair", is_flag=True, help="Index objects that have no row, and drop rows whose object is gone.")
@click.option("--verify", is_flag=True, help="Read every object and compare its digest; takes as long as reading does.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_configuration
def check(configuration: Configuration, repair: bool, verify: bool, as_json: bool) -> None:
    """Hold the index against the object store: objects without a row, rows without an object, damaged objects.

    What was deleted and can be restored is known and in order. Files that have no object's name are somebody else's and
    are left alone. Exits with 1 if something is wrong and was not repaired. May run beside a running server.
    """
    from fileroom_server.wiring import existing_storage
    from fileroom_storage.storage import ORPHAN_SECONDS, FindingKind

    with existing_storage(configuration) as storage:
        found = list(_findings(storage, repair=repair, verify=verify))
    findings = [finding for finding in found if finding.kind is not FindingKind.YOUNG]
    young = len(found) - len(findings)
    wrong = [finding for finding in findings if not finding.is_repaired]
    if as_json:
        write_json({"good": not wrong, "findings": [_document(finding) for finding in findings], "young": young})
    elif findings:
        headings = ("What", "SOP Instance UID", "Object", "Repair")
        rows = [(f.kind.value, f.sop_instance_uid, f.location, f.repair or "") for f in findings]
        write_table(headings, rows)
        kinds = Counter(finding.kind.value for finding in wrong)
        for kind, number in sorted(kinds.items()):
            write_notice(f"{number:,} × {kind}")
        if wrong and not repair:
            write_notice("`fileroom check --repair` repairs what can be repaired.")
    else:
        write_line("Index and object store agree." if verify else "Index and object store agree (bytes not verified).")
    if young and not as_json:
        write_notice(
            f"{count(young, 'object')} without an index row younger than {ORPHAN_SECONDS / 60:.0f} minutes: "
            "perhaps just coming in; check again later"
        )
    sys.exit(1 if wrong else 0)


def _findings(storage: "Storage", *, repair: bool, verify: bool) -> Iterator["Finding"]:
    from fileroom_server.command_actor import command_actor

    actor = command_actor()
    if not is_terminal(sys.stderr):
        yield from storage.check(repair=repair, verify=verify, actor=actor)
        return
    from rich.console import Console

    with Console(stderr=True).status("Checking …") as status:

        def progress(seen: int) -> None:
            if seen % 100 == 0:
                status.update(f"Checking … {count(seen, 'object')} of the index seen")

        yield from storage.check(repair=repair, verify=verify, actor=actor, progress=progress)


def _document(finding: "Finding") -> dict[str, str | bool | None]:
    return {
        "kind": finding.kind.value,
        "sop_instance_uid": finding.sop_instance_uid,
        "object": finding.location,
        "repair": finding.repair,
        "repaired": finding.is_repaired,
    }
