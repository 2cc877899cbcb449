"""The plugin's tables, made once: they refer to each other and to those of the core."""

from fileroom_storage.plugin import plugin_metadata

from .tables import HealthImagingTables
from .tag_and_job_tables import TagAndJobTables

METADATA = plugin_metadata()
TABLES = HealthImagingTables(METADATA)
TAG_AND_JOB_TABLES = TagAndJobTables(METADATA)
