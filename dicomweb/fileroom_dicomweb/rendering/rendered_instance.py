"""What one instance can be rendered as, and doing it: images, video, documents, reports, waveforms (PS3.18 8.7.4)."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NoReturn

from PIL import Image

from fileroom_storage.errors import CannotDecode, FrameOutOfRange
from fileroom_storage.pixels.byte_order import little_endian_frame, stored_big_endian
from fileroom_storage.pixels.decoding import DecodedFrame, decode_frame
from fileroom_storage.storage import Storage, StoredInstance

from ..media_types import Offer
from ..problem import not_acceptable
from ..renderings import Renderings
from .cine import animation_step, frame_ms, representative_frame
from .content_tree import has_content_tree, structured_report
from .document import document, document_media_type, is_document
from .encode import GIF, IMAGE_MEDIA_TYPES, JPEG, PNG, animated, encoded
from .frame_attributes import Attributes, FrameAttributes
from .grey import Range, needs_range, value_range
from .icc import in_profile
from .icon import icon
from .image import in_viewport, is_grey, picture
from .options import RenderingOptions, Viewport
from .report import HTML, REPORT_MEDIA_TYPES, report_html, report_text
from .video import holds_video, is_video, video_media_type, video_stream
from .waveform import has_waveform, waveform_picture

THUMBNAIL_SIZE = 256
_STILL_MEDIA_TYPES = (JPEG, PNG)
Pieces = Sequence[bytes | memoryview]


class RenderedInstance:
    """One instance to be rendered, its header read once."""

    def __init__(self, storage: Storage, instance: StoredInstance, renderings: Renderings | None = None) -> None:
        self._storage = storage
        self._renderings = renderings or Renderings()
        self.instance = instance
        # what a video is, and can be given as, its stream tells
        read = storage.header_with_pixels if holds_video(instance.transfer_syntax_uid) else storage.header
        self._header = read(instance)
        self._attributes = Attributes(self._header.data_set)

    @cached_property
    def media_types(self) -> tuple[str, ...]:
        """What it can be rendered as, best first; empty for what cannot be shown."""
        header = self._header
        if is_video(header):
            return _known(video_media_type(header))
        if header.pixel_data is not None:
            return IMAGE_MEDIA_TYPES
        if is_document(header):
            return _known(document_media_type(header, self.instance.sop_class_uid))
        if has_content_tree(header):
            return REPORT_MEDIA_TYPES
        return _STILL_MEDIA_TYPES if has_waveform(header) else ()

    @property
    def is_image(self) -> bool:
        return self.media_types == IMAGE_MEDIA_TYPES

    @property
    def is_text(self) -> bool:
        return self.media_types == REPORT_MEDIA_TYPES

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return int(self._attributes.number("Rows") or 1), int(self._attributes.number("Columns") or 1)

    @property
    def number_of_frames(self) -> int:
        return max(self.instance.number_of_frames, 1)

    def render(self, frame_numbers: Sequence[int] | None, options: RenderingOptions, media_type: str) -> Pieces:
        """In one of `media_types`. Raises CannotDecode, FrameOutOfRange, Problem."""
        if media_type not in self.media_types:
            self._refuse()
        with self._renderings.one(), self._storage.monitor.rendering():
            return self._render(frame_numbers, options, media_type)

    def _render(self, frame_numbers: Sequence[int] | None, options: RenderingOptions, media_type: str) -> Pieces:
        if self.is_image:
            return [self._render_image(frame_numbers, options, media_type)]
        if frame_numbers is not None and any(number != 1 for number in frame_numbers):
            raise FrameOutOfRange("the instance is no image of several frames")
        if is_video(self._header):
            return video_stream(self._header)
        if is_document(self._header):
            return [document(self._header)]
        if has_content_tree(self._header):
            report = structured_report(self._header)
            return [report_html(report) if media_type == HTML else report_text(report)]
        drawn = waveform_picture(self._header)
        drawn = in_viewport(drawn, options.viewport) if options.viewport else drawn
        return [encoded(drawn, media_type, options.quality)]

    def thumbnail(self, frame_number: int | None, options: RenderingOptions, media_type: str) -> bytes:
        """A small still picture, of the middle frame unless the object names one; an icon where there is none.

        Raises FrameOutOfRange for a frame that was asked for, and Problem where too many are being made.
        """
        viewport = options.viewport or Viewport(THUMBNAIL_SIZE, THUMBNAIL_SIZE)
        options = RenderingOptions(viewport=viewport, quality=options.quality)
        with self._renderings.one(), self._storage.monitor.rendering():
            try:
                image = self._thumbnail(frame_number, options)
            except CannotDecode:
                image = in_viewport(icon(self._kind), viewport)
            return encoded(image, media_type, options.quality)

    def _thumbnail(self, frame_number: int | None, options: RenderingOptions) -> Image.Image:
        if self.is_image:
            middle = (self.number_of_frames + 1) // 2
            number = frame_number or representative_frame(self._attributes, self.number_of_frames, otherwise=middle)
            [(_, frame)] = self._decoded([number], asked=frame_number is not None)
            return picture(self._header, number, frame, options)
        if self.media_types == _STILL_MEDIA_TYPES and options.viewport is not None:
            return in_viewport(waveform_picture(self._header), options.viewport)
        raise CannotDecode("the instance is no image")

    @property
    def _kind(self) -> str:
        """One word for an icon."""
        if is_video(self._header):
            return "VIDEO"
        if is_document(self._header):
            media_type = document_media_type(self._header, self.instance.sop_class_uid) or "/DOC"
            return {"text/xml": "CDA"}.get(media_type, media_type.rpartition("/")[2].upper())
        return self._attributes.text("Modality").upper()

    def _render_image(self, frame_numbers: Sequence[int] | None, options: RenderingOptions, media_type: str) -> bytes:
        numbers = list(frame_numbers or ())
        if not numbers and media_type == GIF:
            numbers = list(range(1, self.number_of_frames + 1))
        asked = bool(numbers)
        if not numbers:
            numbers = [representative_frame(self._attributes, self.number_of_frames)]
        if len(numbers) > 1:
            return self._animation(numbers, options)
        [(number, frame)] = self._decoded(numbers, asked=asked and frame_numbers is not None)
        image, profile = self._in_profile(picture(self._header, number, frame, options), number, options)
        return encoded(image, media_type, options.quality, profile)

    def _animation(self, numbers: list[int], options: RenderingOptions) -> bytes:
        number_of_pixels = _shown_pixels(self._attributes, options)
        step = animation_step(len(numbers), number_of_pixels)
        numbers = numbers[::step]
        between = self._range_of(numbers, options)
        pictures = (
            self._in_profile(picture(self._header, number, frame, options, between), number, options)[0]
            for number, frame in self._decoded(numbers, asked=True)
        )
        return animated(pictures, frame_ms(self._attributes) * step)

    def _range_of(self, numbers: list[int], options: RenderingOptions) -> Range | None:
        """One for all frames, so that they do not flicker; None where the object itself says what is black."""
        [(number, first)] = self._decoded(numbers[:1], asked=True)
        attributes = FrameAttributes(self._header, number)
        if not is_grey(first) or not needs_range(attributes, first, options.window):
            return None
        ranges = [
            value_range(FrameAttributes(self._header, number), frame)
            for number, frame in self._decoded(numbers, asked=True)
        ]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def _decoded(self, numbers: Sequence[int], *, asked: bool) -> Iterator[tuple[int, DecodedFrame]]:
        """Frame by frame; that there is none is an error of the object unless it was `asked` for."""
        swap = stored_big_endian(self.instance.transfer_syntax_uid)
        frames = self._storage.frames(self.instance, numbers)
        for number in numbers:
            try:
                frame = next(frames)
            except FrameOutOfRange:
                if asked:
                    raise
                raise CannotDecode("the pixel data has no frames that can be told apart") from None
            frame = little_endian_frame(self._header, frame, number) if swap else frame
            yield number, decode_frame(self._header, frame)

    def _in_profile(
        self, image: Image.Image, number: int, options: RenderingOptions
    ) -> tuple[Image.Image, bytes | None]:
        return in_profile(image, FrameAttributes(self._header, number), options.icc_profile)

    def _refuse(self) -> NoReturn:
        if self.media_types:
            raise not_acceptable(tuple(map(Offer, self.media_types)))
        raise CannotDecode(
            "this instance has nothing to be rendered; retrieve it as application/dicom, or its metadata"
        )


def rendered_instance(
    storage: Storage,
    instance: StoredInstance,
    frame_numbers: Sequence[int] | None,
    options: RenderingOptions,
    media_type: str,
) -> bytes:
    """The instance, or these of its frames, in one of the media types of `rendered_offers`.

    Without frame numbers: a GIF of all frames, any other image of the representative or the first frame. Several
    frames are one GIF. Raises CannotDecode, FrameOutOfRange, ObjectMissing, Problem.
    """
    return b"".join(RenderedInstance(storage, instance).render(frame_numbers, options, media_type))


def rendered_offers(storage: Storage, instance: StoredInstance) -> tuple[Offer, ...]:
    """What the instance can be rendered as, each in a single part, best first; empty where nothing can be shown."""
    return tuple(map(Offer, RenderedInstance(storage, instance).media_types))


def _known(media_type: str | None) -> tuple[str, ...]:
    return () if media_type is None else (media_type,)


def _shown_pixels(attributes: Attributes, options: RenderingOptions) -> int:
    viewport = options.viewport
    rows, columns = attributes.number("Rows") or 1, attributes.number("Columns") or 1
    if viewport is not None:
        rows, columns = viewport.height or rows, viewport.width or columns
    return int(rows * columns)
