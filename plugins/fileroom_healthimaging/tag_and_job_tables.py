"""The tables of tags and of import jobs."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, MetaData, Table

from fileroom_storage.plugin import ExactText, LongText, Uid, microsecond_datetime, plugin_table, surrogate_key

ID_LENGTH = 32  # of data stores, image sets and jobs of the service
KEYWORD_LENGTH = 64
TOKEN_LENGTH = 64
REASON_LENGTH = 2048  # of the service's messages


def tag_table(metadata: MetaData) -> Table:
    """An attribute that image sets of a series are to have, and whether they have it."""
    return plugin_table(
        metadata,
        "healthimaging_tag",
        Column("pk", surrogate_key(), primary_key=True),
        Column("datastore_id", ExactText(ID_LENGTH), nullable=False),
        Column("series_instance_uid", Uid(), nullable=False, index=True),
        Column("sop_instance_uid", Uid()),
        Column("level", ExactText(16), nullable=False),
        Column("keyword", ExactText(KEYWORD_LENGTH), nullable=False),
        Column("value", LongText(), nullable=False),
        Column("forced", Boolean, nullable=False),
        Column("named_image_set_id", ExactText(ID_LENGTH)),  # by whoever asked
        Column("image_set_id", ExactText(ID_LENGTH)),  # that it was, or is to be, applied to
        Column("base_version", BigInteger),  # the latest version when the update was begun
        Column("version", BigInteger),  # that the update has made
        # of what is asked for, as long as it is not settled: it is asked for once at a time
        Column("pending_key", ExactText(64), unique=True),
        *_work_columns(),
    )


def import_job_table(metadata: MetaData) -> Table:
    """A DICOM import job: what it was told, and what the service says of it."""
    return plugin_table(
        metadata,
        "healthimaging_import_job",
        Column("pk", surrogate_key(), primary_key=True),
        Column("datastore_id", ExactText(ID_LENGTH), nullable=False),
        Column("name", ExactText(64), nullable=False),
        Column("client_token", ExactText(TOKEN_LENGTH), nullable=False, unique=True),
        Column("data_access_role_arn", LongText(), nullable=False),
        Column("input_s3_uri", LongText(), nullable=False),
        Column("output_s3_uri", LongText(), nullable=False),
        Column("job_id", ExactText(ID_LENGTH)),
        Column("manifest_s3_uri", LongText()),
        Column("message", LongText()),
        Column("number_of_scanned_files", BigInteger),
        Column("number_of_imported_files", BigInteger),
        Column("number_of_failed_files", BigInteger),
        Column("number_of_image_sets", BigInteger),
        Column("told_image_set_id", ExactText(ID_LENGTH)),  # the last that the index was told of
        Column("ended_at", microsecond_datetime()),
        *_work_columns(),
    )


def import_file_table(metadata: MetaData) -> Table:
    """What became of each file of an import job, by the reports of the service."""
    return plugin_table(
        metadata,
        "healthimaging_import_file",
        Column(
            "import_job_pk",
            surrogate_key(),
            ForeignKey("healthimaging_import_job.pk", ondelete="CASCADE"),
            primary_key=True,
        ),
        Column("outcome", ExactText(16), primary_key=True),
        Column("line", Integer, primary_key=True, autoincrement=False),
        Column("input_file", LongText(), nullable=False),
        Column("image_set_id", ExactText(ID_LENGTH), index=True),
        Column("image_set_version", BigInteger),
        Column("is_primary", Boolean),
        Column("exception_type", ExactText(64)),
        Column("reason", LongText()),
    )


def _work_columns() -> list[Column[Any]]:
    """Of rows that are worked on by one process at a time until they are settled."""
    return [
        Column("state", ExactText(16), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("last_error", LongText()),
        Column("requested_at", microsecond_datetime(), nullable=False),
        Column("due_at", microsecond_datetime(), nullable=False, index=True),
        Column("claimed_by", ExactText(64)),
        Column("give_up_at", microsecond_datetime(), nullable=False),
        Column("settled_at", microsecond_datetime()),
    ]


class TagAndJobTables:
    """The three tables, in `metadata` of the plugin."""

    def __init__(self, metadata: MetaData) -> None:
        self.metadata = metadata
        self.tag = tag_table(metadata)
        self.import_job = import_job_table(metadata)
        self.import_file = import_file_table(metadata)
