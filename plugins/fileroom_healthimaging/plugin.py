"""What the plugin declares: the object that the entry point `healthimaging` names."""

from pathlib import Path

from fileroom_storage.plugin import Plugin, PluginDatabase

from .metrics import METRICS
from .plugin_tables import METADATA
from .section import HealthImagingSection
from .views import VIEWS
from .wiring import start

plugin = Plugin(
    name="healthimaging",
    section=HealthImagingSection,
    database=PluginDatabase(METADATA, Path(__file__).parent / "migrations", VIEWS),
    start=start,
    metrics=METRICS,
    commands={
        "import": "fileroom_healthimaging.import_command:import_",
        "follow": "fileroom_healthimaging.follow_command:follow",
        "status": "fileroom_healthimaging.status_command:status",
        "conflicts": "fileroom_healthimaging.conflicts_command:conflicts",
        "tag": "fileroom_healthimaging.tags_commands:tag",
        "job": "fileroom_healthimaging.dicom_import_jobs_commands:job",
    },
)
