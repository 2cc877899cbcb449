"""The rows of the audit log, as people and collectors read them."""

import base64
import datetime as dt
import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Engine, select

from ..engine import unavailable_errors
from ..tables import Tables

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row. `at` is UTC; `detail` has `sop_classes` (instances by UID), `times`, `host` and others."""

    chain: int
    sequence: int
    at: dt.datetime
    event: str
    type: str | None
    action: str
    outcome: int
    source: str
    user_id: str | None
    remote_address: str | None
    called_ae_title: str | None
    study_instance_uid: str | None
    patient_id: str | None
    detail: Mapping[str, Any]
    hash: str

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        values = {name: row[name] for name in cls.__dataclass_fields__}
        try:
            detail = json.loads(row["detail"])
        except ValueError:
            detail = None
        # a row that somebody has changed can be shown all the same
        values["detail"] = detail if isinstance(detail, dict) else {"unreadable": str(row["detail"])}
        return cls(**values)

    @property
    def position(self) -> str:
        return f"{self.chain}:{self.sequence}"

    @property
    def query(self) -> bytes | None:
        try:
            return base64.b64decode(self.detail["query"]) if "query" in self.detail else None
        except (TypeError, ValueError):
            return None

    @property
    def sop_classes(self) -> dict[str, int]:
        found = self.detail.get("sop_classes")
        return dict(found) if isinstance(found, dict) else {}


def rows(
    engine: Engine,
    tables: Tables,
    *,
    study: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> Iterator[AuditRow]:
    """By time, oldest first; `since` and `until` are UTC. In pages, so that no long read holds up writers."""
    table = tables.audit_log
    statement = select(table).order_by(table.c.at, table.c.chain, table.c.sequence).limit(_PAGE)
    if study is not None:
        statement = statement.where(table.c.study_instance_uid == study)
    if until is not None:
        statement = statement.where(table.c.at < until)
    last: Mapping[str, Any] | None = None
    while True:
        page = statement if since is None else statement.where(table.c.at >= since)
        if last is not None:
            at, chain, sequence = last["at"], last["chain"], last["sequence"]
            later = (table.c.chain > chain) | ((table.c.chain == chain) & (table.c.sequence > sequence))
            page = page.where((table.c.at > at) | ((table.c.at == at) & later))
        with unavailable_errors(), engine.connect() as connection:
            found = [dict(row) for row in connection.execute(page).mappings()]
        yield from map(AuditRow.of_row, found)
        if len(found) < _PAGE:
            return
        last = found[-1]


def by_time(chains: list[list[AuditRow]]) -> list[AuditRow]:
    """The rows of several chains, each in its order, the chains merged by time."""
    return list(heapq.merge(*chains, key=lambda row: row.at))
