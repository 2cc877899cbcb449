"""What the plugin declares: the object that the entry point `healthimaging` names."""

from pathlib import Path

from fileroom_storage.plugin import Plugin, PluginDatabase

from .plugin_tables import METADATA
from .section import HealthImagingSection
from .views import VIEWS

plugin = Plugin(
    name="healthimaging",
    section=HealthImagingSection,
    database=PluginDatabase(METADATA, Path(__file__).parent / "migrations", VIEWS),
)
