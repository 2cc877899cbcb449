"""The one place where the configuration becomes the settings of storage and DICOMweb."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fileroom_server.config import Configuration, LoggingConfiguration
from fileroom_server.plugins import enabled_plugins, load_plugin
from fileroom_server.syslog import Collector
from fileroom_storage.errors import PluginUnusable, StorageNotWritable
from fileroom_storage.monitor import UNWATCHED, Monitor
from fileroom_storage.storage import ConnectionPool, IndexSchema, Storage, StorageSettings, plugin_databases

if TYPE_CHECKING:
    from fileroom_dicomweb.settings import DicomwebSettings

_log = logging.getLogger(__name__)


def storage_settings(configuration: Configuration) -> StorageSettings:
    return StorageSettings(
        data=configuration.data.absolute(),
        database=configuration.database_url(),
        durability=configuration.storage.durability,
        retrieve_ae_title=configuration.dicom.ae_title,
        undo_time=timedelta(seconds=configuration.storage.undo_time),
        purge_rejected=configuration.storage.purge_rejected,
        audit=configuration.audit.enabled,
        plugins=enabled_plugins(configuration),
        pool=ConnectionPool(
            size=configuration.database.pool_size,
            overflow=configuration.database.pool_overflow,
            timeout=configuration.database.pool_timeout,
            recycle=configuration.database.pool_recycle,
            statement_timeout=configuration.database.statement_timeout,
        ),
    )


def dicomweb_settings(configuration: Configuration) -> "DicomwebSettings":
    from fileroom_dicomweb.settings import DicomwebSettings  # with Flask, which commands do without
    from fileroom_server.http_authentication import authentication_settings

    http = configuration.http
    return DicomwebSettings(
        prefix=http.prefix,
        base_url=http.base_url or None,
        trusted_proxies=http.forwarded_allow_ips,
        maximum_body_size=http.maximum_body_size or None,
        maximum_results=http.maximum_results or None,
        maximum_renderings=http.maximum_renderings,
        rendering_patience=http.queue_timeout,
        viewer=configuration.viewer_folder(),
        viewer_config=configuration.viewer_config_file(),
        idle_timeout=http.timeout,
        cors_origins=http.cors_origins,
        allow_delete=http.allow_delete,
        metadata_cache_size=http.metadata_cache_size,
        authentication=authentication_settings(configuration),
    )


def audit_collector(configuration: Configuration) -> Collector | None:
    """Where audit events are sent to; None where they stay in the index."""
    audit = configuration.audit
    if not audit.syslog_host:
        return None
    return Collector(
        audit.syslog_host,
        audit.syslog_port,
        audit.syslog_transport,
        Path(audit.syslog_ca) if audit.syslog_ca else None,
        Path(audit.syslog_certificate) if audit.syslog_certificate else None,
        Path(audit.syslog_private_key) if audit.syslog_private_key else None,
        audit.syslog_facility,
    )


def command_logging(configuration: Configuration) -> LoggingConfiguration:
    """Commands that end by themselves say what is wrong; what goes well is told by their output."""
    logging = configuration.logging
    return logging.model_copy(update={"level": "warning"}) if logging.level == "info" else logging


@contextmanager
def new_or_existing_storage(configuration: Configuration, *, to_read: bool = False) -> Iterator[Storage]:
    """Storage with the index of this release, made where the database is empty. Raises StorageError.

    `to_read`: a disk that is full or read-only is told in the log, and no error.
    """
    with Storage.open(storage_settings(configuration)) as storage:
        storage.create_schema_if_empty()
        try:
            storage.check_ready()
        except StorageNotWritable as error:
            if not to_read:
                raise
            _log.warning("nothing can be stored now: %s", error)
        yield storage


def check_data(configuration: Configuration) -> None:
    """Raises ClickException where there is no data folder."""
    if not configuration.data.is_dir():
        raise click.ClickException(
            f"there are no data in {configuration.data}; name their folder with --data, or begin with `fileroom serve`"
        )


@contextmanager
def existing_storage(configuration: Configuration) -> Iterator[Storage]:
    """Storage for commands that need something to be there. Raises StorageError."""
    check_data(configuration)
    with Storage.open(storage_settings(configuration)) as storage:
        if not storage.schema_current():
            storage.check_ready()  # says which schema there is and what to do
        yield storage


def existing_index(configuration: Configuration) -> IndexSchema:
    """The schema of the index and of the plugins that are enabled. Raises StorageError."""
    return IndexSchema(configuration.database_url(), plugin_databases(enabled_plugins(configuration)))


@contextmanager
def storage_of_plugin(configuration: Configuration, name: str, monitor: Monitor = UNWATCHED) -> Iterator[Storage]:
    """Storage for commands that need a plugin to be enabled; its tables are made where there are none.

    Raises PluginUnusable and what else is a StorageError.
    """
    if name not in configuration.plugins:
        load_plugin(name)
        raise PluginUnusable(f"plugin {name} is not enabled; write a section [plugins.{name}] in the configuration")
    check_data(configuration)
    with Storage.open(storage_settings(configuration), monitor) as storage:
        storage.create_schema_if_empty()
        if not storage.schema_current():
            storage.check_ready()  # says which schema there is and what to do
        yield storage
