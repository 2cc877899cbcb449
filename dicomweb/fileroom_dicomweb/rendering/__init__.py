"""From stored objects to what a person can look at: pictures, pages, documents, video (PS3.18 8.3.5, 8.7.4)."""

from .options import (
    Annotation,
    IccProfile,
    RenderingOptions,
    Viewport,
    Window,
    WindowFunction,
    rendering_options,
    thumbnail_options,
)
from .rendered_instance import RenderedInstance, rendered_instance, rendered_offers

__all__ = [
    "Annotation",
    "IccProfile",
    "RenderedInstance",
    "RenderingOptions",
    "Viewport",
    "Window",
    "WindowFunction",
    "rendered_instance",
    "rendered_offers",
    "rendering_options",
    "thumbnail_options",
]
