"""An object that is written and understood: what is to be known of it before it is made durable and indexed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .errors import UnusableObject, UnusableReason
from .index.arrival import InstanceUids, Provenance, instance_uids
from .index.scope import Authority
from .objects import ObjectWriter
from .parse.frames import FrameLayout, frame_layout
from .parse.header import Header
from .parse.mapped_pages import STRETCH, let_go_of_pages
from .parse.part10 import encode_file_meta

# Lengths of data sets that are digested while the disk writes: smaller ones are digested before another thread has
# begun, larger ones while they come, or stretch by stretch.
DIGESTED_MEANWHILE = range(1 << 16, (1 << 20) + 1)


@dataclass(frozen=True, slots=True)
class ReadyObject:
    """An object that is written and understood, to be made durable, visible and indexed."""

    writer: ObjectWriter
    header: Header
    uids: InstanceUids
    transfer_syntax_uid: str
    data_set_offset: int
    layout: FrameLayout | None
    digest: Callable[[], str]  # to be called once it is durable: it may wait for what is under way
    provenance: Provenance
    authority: Authority | None = None


def ready_object(
    writer: ObjectWriter,
    data_set: memoryview,
    header: Header,
    uids: InstanceUids,
    transfer_syntax_uid: str,
    data_set_offset: int,
    provenance: Provenance,
    digest: Callable[[], str] | None = None,
) -> ReadyObject:
    # offsets into what was inflated lead nowhere in the file; such frames are found when they are asked for
    layout = None if header.is_deflated else frame_layout(data_set, header)
    digest = digest or partial(str, sha256_of(data_set))
    return ReadyObject(writer, header, uids, transfer_syntax_uid, data_set_offset, layout, digest, provenance)


def checked_uids(header: Header, study_instance_uid: str | None) -> InstanceUids:
    uids = instance_uids(header)
    if study_instance_uid is not None and uids.study_instance_uid != study_instance_uid:
        raise UnusableObject(
            UnusableReason.STUDY_MISMATCH, "the object belongs to another study than the one it was sent to"
        )
    return uids


def own_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, provenance: Provenance) -> bytes:
    return encode_file_meta(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        source_application_entity_title=provenance.calling_ae_title,
    )


def sha256_of(data_set: memoryview) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(data_set), STRETCH):
        digest.update(data_set[start : start + STRETCH])
        if len(data_set) > STRETCH:
            let_go_of_pages(data_set)
    return digest.hexdigest()
