"""The tables of image sets: what is known of each, by which the rows of the core come about."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
)

from fileroom_storage.plugin import (
    ExactText,
    LongText,
    Uid,
    binary,
    instance_key,
    microsecond_datetime,
    plugin_table,
    surrogate_key,
)

ID_LENGTH = 32  # of data stores and image sets of the service
FRAME_ID_LENGTH = 256


class HealthImagingTables:
    """In `metadata` of the plugin."""

    def __init__(self, metadata: MetaData) -> None:
        self.metadata = metadata
        self.image_set = _image_set(metadata)
        self.version = _version(metadata)
        self.series = _series(metadata)
        self.frame = _frame(metadata)
        self.conflict = _conflict(metadata)
        self.turn = plugin_table(metadata, "healthimaging_turn", Column("pk", Integer, primary_key=True))


def _image_set(metadata: MetaData) -> Table:
    """What all that was told of an image set comes to, and the newest document of it."""
    return plugin_table(
        metadata,
        "healthimaging_image_set",
        Column("pk", surrogate_key(), primary_key=True),
        Column("datastore_id", ExactText(ID_LENGTH), nullable=False),
        Column("image_set_id", ExactText(ID_LENGTH), nullable=False),
        *_told_columns(),
        Column("document_version_id", BigInteger),
        Column("document_digest", ExactText(64)),  # SHA-256 of it as it came
        Column("document", binary()),  # JSON, compressed by gzip
        Column("study_instance_uid", Uid()),
        Column("patient_key", ExactText(64)),  # SHA-256 of issuer and Patient ID
        # of all that the document says of the patient, and of the study
        Column("patient_digest", ExactText(64)),
        Column("study_digest", ExactText(64)),
        # what its rows in the core were made of; null: it has none
        Column("index_level", ExactText(16)),
        # each change has another: what was read is still so when it is written
        Column("change", ExactText(32), nullable=False),
        UniqueConstraint("datastore_id", "image_set_id"),
        Index(None, "study_instance_uid"),
        Index(None, "patient_key"),
    )


def _version(metadata: MetaData) -> Table:
    """The history: all that was ever told, each once."""
    return plugin_table(
        metadata,
        "healthimaging_version",
        Column("pk", surrogate_key(), primary_key=True),
        _image_set_key(),
        Column("digest", ExactText(64), nullable=False),  # SHA-256 of what was told
        *_told_columns(),
        Column("told_at", microsecond_datetime(), nullable=False),
        UniqueConstraint("image_set_pk", "digest"),
    )


def _told_columns() -> list[Column[object]]:
    return [
        Column("version_id", BigInteger),
        Column("state", ExactText(16), nullable=False),
        Column("workflow_status", ExactText(64)),
        Column("is_primary", Boolean),
        Column("storage_tier", ExactText(64)),
        Column("created_at", microsecond_datetime()),
        Column("updated_at", microsecond_datetime()),
        Column("deleted_at", microsecond_datetime()),
        Column("message", LongText()),
    ]


def _series(metadata: MetaData) -> Table:
    """The series of an image set that is not deleted, with the instances that its document has."""
    return plugin_table(
        metadata,
        "healthimaging_series",
        Column("pk", surrogate_key(), primary_key=True),
        _image_set_key(),
        Column("series_instance_uid", Uid(), nullable=False, index=True),
        # SOP Instance UIDs, parted by backslashes and compressed by zlib
        Column("sop_instance_uids", binary(), nullable=False),
        UniqueConstraint("image_set_pk", "series_instance_uid"),
    )


def _frame(metadata: MetaData) -> Table:
    """The frames of an instance, where `index_level` is "frame"."""
    return plugin_table(
        metadata,
        "healthimaging_frame",
        Column("pk", surrogate_key(), primary_key=True),
        instance_key(),
        _image_set_key(index=True),
        Column("frame_number", Integer, nullable=False),  # from 1
        Column("image_frame_id", ExactText(FRAME_ID_LENGTH), nullable=False),
        Column("minimum_pixel_value", Double),
        Column("maximum_pixel_value", Double),
        Column("frame_size", BigInteger),
        Column("checksums", LongText()),  # JSON: [[width, height, checksum], …], the full resolution last
    )


def _conflict(metadata: MetaData) -> Table:
    """A series that two image sets have: one row for the pair, whatever becomes of it."""
    return plugin_table(
        metadata,
        "healthimaging_conflict",
        Column("pk", surrogate_key(), primary_key=True),
        Column("series_instance_uid", Uid(), nullable=False),
        _image_set_key("first_image_set_pk"),
        _image_set_key("second_image_set_pk", index=True),
        Column("type", ExactText(16), nullable=False),
        Column("differing_attributes", LongText(), nullable=False),  # JSON: {keyword: [of the first, of the second]}
        Column("state", ExactText(16), nullable=False, index=True),
        Column("resolution", ExactText(16)),
        Column("opened_at", microsecond_datetime(), nullable=False),
        Column("closed_at", microsecond_datetime()),
        UniqueConstraint("first_image_set_pk", "second_image_set_pk", "series_instance_uid"),
    )


def _image_set_key(name: str = "image_set_pk", *, index: bool = False) -> Column[object]:
    key = ForeignKey("healthimaging_image_set.pk", ondelete="CASCADE")
    return Column(name, surrogate_key(), key, nullable=False, index=index)
