"""Conditional requests (RFC 9110 13): entity tags from the index alone, so that a 304 costs one query."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from importlib.metadata import version

from flask import Blueprint, Flask, Response, request

from fileroom_storage.storage import StoredInstance

_SEPARATOR = "\0"
# the same object may be written in another way after an upgrade
_RELEASE = version("fileroom")


def entity_tag(instances: Iterable[StoredInstance], *form: str) -> str:
    """The opaque tag of an answer that is made of these instances, in this order, and of nothing else but `form`.

    `form` is all that makes one answer differ from another of the same instances: media type, transfer syntax,
    frame numbers, rendering options, the root URL where the answer names URLs.
    """
    digest = sha256(_SEPARATOR.join((_RELEASE, *form)).encode())
    for instance in instances:
        facts = (
            instance.digest,
            instance.transfer_syntax_uid,
            # where it belongs may change while its bytes do not: a conflict was resolved
            instance.study_instance_uid,
            instance.series_instance_uid,
            instance.sop_instance_uid,
            instance.location,
        )
        digest.update(_SEPARATOR.join(("", *facts)).encode())
    return digest.hexdigest()[:32]


def conditional(tag: str, answer: Callable[[], Response], *, weak: bool = True) -> Response:
    """304 where the client has this already, else what `answer` makes, with the tag.

    A tag is weak unless the answer is the same to the byte each time: not so where it may be compressed on its way
    (RFC 9110 8.8.3.3), and not in multipart, whose boundary is new each time. Only strong ones serve for If-Range.
    """
    # RFC 9110 13.1.2: If-None-Match compares weakly, and `*` means anything that is there
    if request.if_none_match.contains_weak(tag):
        response = Response(status=304)
        del response.headers["Content-Type"]
    else:
        response = answer()
    if response.status_code < 400:
        response.set_etag(tag, weak)
    return response


def register_cache_policy(target: Flask | Blueprint) -> None:
    """What no answer in `target` says itself: who may keep it, and what it depends on."""
    target.after_request(_cache_policy)


def _cache_policy(response: Response) -> Response:
    # Patients' data is for nobody's shared cache. What is stored may be corrected or deleted at any time, so the
    # client's own asks each time; a 304 costs little.
    response.headers.setdefault("Cache-Control", "private, no-cache")
    response.vary.update(("Accept", "Accept-Encoding"))
    return response
