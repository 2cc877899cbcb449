"""From the context of the plugin to what its commands and its processes work with."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fileroom_storage.plugin import PluginContext

from .aws import AwsClients
from .document_sources import S3Documents
from .frame_cache import FrameCache
from .frame_source import HealthImagingFrames
from .image_set_index import ImageSetIndex
from .image_set_service import ImageSetService
from .intake import Intake
from .reconciliation import Reconciliation
from .section import HealthImagingSection

_CACHE_FOLDER = "healthimaging-frames"


@dataclass(frozen=True)
class Parts:
    """What a command works with; `stopping` ends all of it early."""

    section: HealthImagingSection
    clients: AwsClients
    service: ImageSetService
    index: ImageSetIndex
    intake: Intake
    reconciliation: Reconciliation
    s3: S3Documents
    stopping: threading.Event


@contextmanager
def parts(context: PluginContext) -> Iterator[Parts]:
    section: HealthImagingSection = context.section
    clients = AwsClients(section, context)
    service, index, stopping = ImageSetService(clients), ImageSetIndex(context), threading.Event()
    intake = Intake(service, index, section.concurrent_requests, stopping, context)
    try:
        yield Parts(
            section,
            clients,
            service,
            index,
            intake,
            Reconciliation(service, index, intake, stopping),
            S3Documents(clients, section.concurrent_requests),
            stopping,
        )
    finally:
        clients.close()


def start(context: PluginContext) -> None:
    """In each process: whoever wants frames of HealthImaging gets them from there."""
    section: HealthImagingSection = context.section
    folder = section.frame_cache or context.storage.settings.data / _CACHE_FOLDER
    context.storage.register_frame_source(
        context.name,
        HealthImagingFrames(
            ImageSetService(AwsClients(section, context)),
            ImageSetIndex(context).frames_of,
            FrameCache(folder, section.frame_cache_size << 20),
            section.concurrent_requests,
            context,
        ),
    )
