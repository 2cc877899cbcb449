"""The plugin's tables, made once: they refer to each other and to those of the core."""

from fileroom_storage.plugin import plugin_metadata

from .tables import HealthImagingTables

METADATA = plugin_metadata()
TABLES = HealthImagingTables(METADATA)
