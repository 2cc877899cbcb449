"""THE table of the plugin's metrics, which docs/healthimaging-metrics.md explains, and who counts into them."""

from typing import Protocol

from sqlalchemy import func, select

from fileroom_storage.plugin import PluginContext, PluginCounter, PluginGauge, PluginHistogram

from .aws_errors import OUTCOMES
from .image_set_conflicts import ConflictState
from .plugin_tables import TABLES

# what the plugin asks of HealthImaging, S3 and SQS
OPERATIONS = (
    "GetDatastore",
    "SearchImageSets",
    "GetImageSet",
    "GetImageSetMetadata",
    "ListImageSetVersions",
    "GetImageFrame",
    "UpdateImageSetMetadata",
    "CopyImageSet",
    "DeleteImageSet",
    "StartDICOMImportJob",
    "GetDICOMImportJob",
    "ListDICOMImportJobs",
    "ListObjectsV2",
    "GetObject",
    "ReceiveMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
)
HIT, MISS = "hit", "miss"
TAKEN, PASSED_OVER, LEFT = "taken", "passed over", "left"
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

AWS_REQUESTS = PluginCounter(
    "fileroom_healthimaging_aws_requests_total",
    "Requests to AWS, by what came of them after all attempts.",
    {"operation": OPERATIONS, "outcome": OUTCOMES},
)
AWS_SECONDS = PluginHistogram(
    "fileroom_healthimaging_aws_request_duration_seconds",
    "From a request to AWS until its answer begins, with all attempts and the pauses between them.",
    _SECONDS,
    {"operation": OPERATIONS},
)
AWS_THROTTLED = PluginCounter(
    "fileroom_healthimaging_aws_throttled_total",
    "Attempts at requests that AWS has throttled.",
    {"operation": OPERATIONS},
)
AWS_RETRIES = PluginCounter(
    "fileroom_healthimaging_aws_retries_total",
    "Attempts at requests to AWS after the first.",
    {"operation": OPERATIONS},
)
FRAMES = PluginCounter(
    "fileroom_healthimaging_frames_total",
    "Frames that were asked for, by whether the cache had them.",
    {"result": (HIT, MISS)},
)
FRAME_BYTES = PluginCounter(
    "fileroom_healthimaging_frame_bytes_total",
    "Bytes of frames that the cache had, and of those that came from the service.",
    {"result": (HIT, MISS)},
)
EVENTS = PluginCounter(
    "fileroom_healthimaging_events_total",
    "Messages of the queue of events, by what became of them.",
    {"outcome": (TAKEN, PASSED_OVER, LEFT)},
)
IMAGE_SETS = PluginCounter(
    "fileroom_healthimaging_image_sets_total",
    "Attempts at taking an image set into the index, by what became of them.",
    {"outcome": ("taken", "unavailable", "unusable")},  # intake.Status
)


def _open_conflicts(context: PluginContext) -> int:
    table = TABLES.conflict
    statement = select(func.count()).select_from(table).where(table.c.state == ConflictState.OPEN)
    with context.database.read() as connection:
        return int(connection.execute(statement).scalar_one())


CONFLICTS_OPEN = PluginGauge(
    "fileroom_healthimaging_conflicts_open", "Conflicts of image sets that wait for a person.", _open_conflicts
)

METRICS = (
    AWS_REQUESTS,
    AWS_SECONDS,
    AWS_THROTTLED,
    AWS_RETRIES,
    FRAMES,
    FRAME_BYTES,
    EVENTS,
    IMAGE_SETS,
    CONFLICTS_OPEN,
)


class Measuring(Protocol):
    """Who is told of what happens: the plugin's context."""

    def count(self, counter: PluginCounter, *labels: str, by: float = 1.0) -> None: ...

    def observe(self, histogram: PluginHistogram, value: float, *labels: str) -> None: ...


class Unmeasured:
    """Forgets it."""

    def count(self, counter: PluginCounter, *labels: str, by: float = 1.0) -> None: ...

    def observe(self, histogram: PluginHistogram, value: float, *labels: str) -> None: ...


UNMEASURED = Unmeasured()
