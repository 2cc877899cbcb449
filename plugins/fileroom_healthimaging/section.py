"""`[plugins.healthimaging]` of the configuration (docs/healthimaging.md)."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fileroom_storage.plugin import PluginSection

DatastoreId = Annotated[str, Field(pattern=r"^[0-9a-z]{32}$")]  # as botocore's model has it
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+[^\s?#]*$")]


class HealthImagingSection(PluginSection):
    """Credentials are none of it: they come by AWS's own ways, the environment, its files, or the role of the host."""

    # None: as AWS's own files and environment say
    region: str | None = Field(None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")
    endpoint_url: HttpUrl | None = None  # of HealthImaging, where it is not the public one
    datastores: tuple[DatastoreId, ...] = ()
    queue_url: HttpUrl | None = None
    index_level: Literal["series", "instance", "frame"] = "frame"
    reconcile_every: int = Field(86_400, ge=0)  # seconds; 0: never
    frame_cache: Path | None = None  # a folder; None: healthimaging-frames beside the objects
    frame_cache_size: int = Field(4096, ge=0)  # MiB; 0: nothing is kept
    concurrent_requests: int = Field(8, ge=1, le=64)
    attempts: int = Field(5, ge=1, le=20)  # of a request that is throttled, or fails for a while
    connect_timeout: float = Field(5, gt=0, le=300)
    read_timeout: float = Field(30, gt=0, le=300)
