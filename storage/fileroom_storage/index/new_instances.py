"""New instances as rows: their own, those of the change feed, and those of what is in their sequences."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from ..attributes import Level
from .arrival import Arrival
from .entities import insert_searchable
from .prepared import insert_rows
from .rows import dump_residue
from .tables import Tables
from .types import FRAME_TABLE_LENGTH


class NewInstance(NamedTuple):
    """An arrival, and where the index has put it."""

    arrival: Arrival
    series_pk: int
    study_instance_uid: str
    series_instance_uid: str


def insert_instances(connection: Connection, tables: Tables, fresh: Sequence[NewInstance], now: dt.datetime) -> None:
    by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for new in fresh:
        row = _instance_row(new.arrival, new.series_pk)
        by_columns[tuple(row)].append(row)
    for rows in by_columns.values():
        insert_rows(connection, tables, tables.instance, rows)
    changes = [
        {
            "at": now,
            "action": "stored",
            "study_instance_uid": new.study_instance_uid,
            "series_instance_uid": new.series_instance_uid,
            "sop_instance_uid": new.arrival.sop_instance_uid,
        }
        for new in fresh
    ]
    insert_rows(connection, tables, tables.change, changes)
    with_items = {
        new.arrival.sop_instance_uid: new.arrival.rows[Level.IMAGE]
        for new in fresh
        if new.arrival.rows[Level.IMAGE].items
    }
    if with_items:
        instance = tables.instance
        chosen = instance.c.sop_instance_uid.in_(with_items)
        for pk, uid in connection.execute(select(instance.c.pk, instance.c.sop_instance_uid).where(chosen)).all():
            insert_searchable(connection, tables, Level.IMAGE, pk, with_items[uid])


def _instance_row(arrival: Arrival, series_pk: int) -> dict[str, Any]:
    row, stored, provenance = arrival.rows[Level.IMAGE], arrival.stored_object, arrival.provenance
    frames = stored.frames
    if frames is not None and frames.table is not None and len(frames.table) > FRAME_TABLE_LENGTH:
        frames = None  # they are found when they are asked for
    origin = arrival.origin
    return {
        **row.columns,
        "residue": dump_residue(row.residue),
        "sop_instance_uid": arrival.sop_instance_uid,
        "sop_class_uid": arrival.sop_class_uid,
        "series_pk": series_pk,
        "available_transfer_syntax_uid": stored.transfer_syntax_uid,
        "size": stored.size,
        "location": stored.location,
        "digest": stored.digest,
        "data_set_offset": stored.data_set_offset,
        "pixel_data_offset": frames.offset if frames else None,
        "pixel_data_length": frames.length if frames else None,
        "frame_count": frames.number_of_frames if frames else None,
        "frame_length": frames.frame_length if frames else None,
        "frame_table": frames.table if frames else None,
        "source": provenance.source,
        "called_ae_title": provenance.called_ae_title,
        "calling_ae_title": provenance.calling_ae_title,
        "association": provenance.association,
        "remote_address": provenance.remote_address,
        "received_at": arrival.received_at,
        "external_source": origin.source if origin else None,
        "external_key": origin.key if origin else None,
    }
