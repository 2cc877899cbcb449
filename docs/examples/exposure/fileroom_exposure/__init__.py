"""Exposure of CT and X-ray images by protocol: what a plugin declares."""

from pathlib import Path

from sqlalchemy import Column, Double

from fileroom_storage.plugin import (
    ExactText,
    ExtractedRows,
    Header,
    Plugin,
    PluginDatabase,
    PluginSection,
    instance_key,
    plugin_metadata,
    plugin_table,
    surrogate_key,
)

METADATA = plugin_metadata()
IMAGE = plugin_table(
    METADATA,
    "exposure_image",
    Column("pk", surrogate_key(), primary_key=True),
    instance_key(),
    Column("protocol", ExactText()),
    Column("kvp", Double),
    Column("exposure", Double),  # mAs
)


class Section(PluginSection):
    unremarkable: float = 100.0  # mAs, up to which nothing is said of a protocol


def extract(header: Header) -> ExtractedRows:
    exposure = header.text("Exposure")
    if exposure is None:
        return {}
    kvp = header.text("KVP")
    row = {"protocol": header.text("ProtocolName"), "kvp": float(kvp) if kvp else None, "exposure": float(exposure)}
    return {IMAGE.name: [row]}


def images(_database: str) -> str:
    joined = "exposure_image e JOIN dicom_instance i ON i.pk = e.instance_pk"
    return f"SELECT i.sop_instance_uid, e.protocol, e.kvp, e.exposure FROM {joined}"  # noqa: S608


PLUGIN = Plugin(
    name="exposure",
    section=Section,
    database=PluginDatabase(METADATA, Path(__file__).parent / "migrations", {"exposure_of_images": images}),
    sop_classes={"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1"},  # CT and Computed Radiography
    extract=extract,
    commands={"protocols": "fileroom_exposure.protocols:command"},
    blueprint="fileroom_exposure.protocols:blueprint",
)
