"""DELETE, rejection (IHE RAD IOCM), and the resources by which both are undone."""

import datetime as dt
from http import HTTPStatus
from typing import Any

import orjson
from flask import Response, request

from fileroom_storage.storage import Deletion, Provenance

from .answer_stream import AnswerStream, json_array
from .audit import actor, store_transfer
from .media_types import JSON
from .origin_server import OriginServer, Resource
from .problem import Problem


def delete_instances(server: OriginServer, resource: Resource) -> Response:
    """Takes a study, a series or an instance out of use at once, with a way back until its undo time is over."""
    _check_allowed(server)
    resource.check()
    return _deletion(server, server.storage.delete(resource.unique_keys, actor(), server.scope))


def reject_instances(server: OriginServer, resource: Resource, code: str) -> Response:
    """The same by a rejection note, which is stored with the study (IHE RAD TF-2 4.66)."""
    _check_allowed(server)
    resource.check()
    transfer = store_transfer(server.storage)
    provenance = Provenance(source="reject", remote_address=request.remote_addr, transfer=transfer)
    try:
        return _deletion(server, server.storage.reject(resource.unique_keys, code, provenance, server.scope))
    finally:
        if transfer is not None:
            transfer.end()


def list_deletions(server: OriginServer) -> Response:
    root_url = server.root_url()  # known while there is a request
    deletions = server.storage.deletions(server.scope)
    documents = (orjson.dumps(_document(server, deletion, root_url)) for deletion in deletions)
    return Response(AnswerStream(json_array(documents)), content_type=JSON)


def show_deletion(server: OriginServer, pk: int) -> Response:
    return _deletion(server, server.storage.deletion(pk, server.scope))


def restore_deletion(server: OriginServer, pk: int) -> Response:
    """Undoes a deletion or a rejection. What cannot be restored stays as it is, and can be tried again."""
    _check_allowed(server)
    restoration = server.storage.restore(pk, actor(), server.scope)
    return _json(
        {
            "id": pk,
            "restored": restoration.restored,
            "already_stored": restoration.already_stored,
            "in_conflict": restoration.in_conflict,
            "lost": restoration.lost,
        }
    )


def _check_allowed(server: OriginServer) -> None:
    if not server.settings.allow_delete:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "Nothing is deleted over HTTP here: [http] allow_delete is off. `fileroom delete` does it on the server.",
        )


def _deletion(server: OriginServer, deletion: Deletion) -> Response:
    return _json(_document(server, deletion, server.root_url()))


def _document(server: OriginServer, deletion: Deletion, root_url: str) -> dict[str, Any]:
    return {
        "id": deletion.pk,
        "at": _utc(deletion.at),
        "reason": deletion.reason.value,
        "code": deletion.code,
        "rejection_note_uid": deletion.rejection_note_uid,
        "study_instance_uid": deletion.study_instance_uid,
        "series_instance_uid": deletion.series_instance_uid,
        "sop_instance_uid": deletion.sop_instance_uid,
        "objects": deletion.number_of_objects,
        "size": deletion.size,
        "purge_at": _utc(deletion.purge_at) if deletion.purge_at else None,
        # a POST to it
        "restore": f"{root_url}/deletions/{deletion.pk}/restore" if server.settings.allow_delete else None,
    }


def _utc(moment: dt.datetime) -> str:
    return f"{moment.isoformat(timespec='seconds')}Z"


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), content_type=JSON)
