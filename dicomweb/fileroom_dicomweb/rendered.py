"""WADO-RS rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4): negotiation and answers."""

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from http import HTTPStatus
from itertools import chain, groupby

from flask import Response, request

from fileroom_storage.errors import CannotDecode, FrameOutOfRange
from fileroom_storage.storage import StoredInstance

from .answer_stream import slices
from .conditional import conditional, entity_tag
from .frames import frame_ranges
from .media_types import MediaType, Offer, choose
from .multipart import OutgoingPart
from .origin_server import OriginServer, Resource, accepted, negotiate
from .problem import Problem, not_acceptable
from .rendering import RenderedInstance, RenderingOptions, rendering_options, thumbnail_options
from .wado import multipart_response, single_part_response

# Of a GIF, a part of its own for each frame has no use.
_PART_MEDIA_TYPES = ("image/jpeg", "image/png")
_THUMBNAIL_OFFERS = (
    *map(Offer, ("image/jpeg", "image/png", "image/gif")),
    *(Offer(media_type, multipart=True) for media_type in _PART_MEDIA_TYPES),
)
# So many instances are tried for one that shows what the series or study is; most have one at once.
_MOST_TRIED = 24
_NO_SCRIPTS = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
_PAGES = ("text/html", "text/xml")

Pieces = Sequence[bytes | memoryview]


def retrieve_rendered(server: OriginServer, resource: Resource, frame_list: str | None = None) -> Response:
    """An instance, these of its frames, or the instances of a series or study that can be shown."""
    options = rendering_options(request.args)
    instances = server.locate(resource)
    numbers = None if frame_list is None else _numbers(frame_list, instances[0])
    if resource.sop_instance_uid is None:
        return guarded(_several(server, instances, options))
    rendered = RenderedInstance(server.storage, instances[0], server.renderings)
    offer = negotiate(*_offers(rendered, numbers)) if rendered.media_types else Offer("")
    return guarded(_tagged(instances, offer, lambda: _one(rendered, numbers, options, offer)))


def retrieve_thumbnail(server: OriginServer, resource: Resource, frame_list: str | None = None) -> Response:
    """A small picture of the instance, of the first of these frames, or of one instance of the series or study."""
    options = thumbnail_options(request.args)
    offer = negotiate(*_THUMBNAIL_OFFERS)
    instances = server.locate(resource)
    number = None if frame_list is None else _numbers(frame_list, instances[0])[0]

    def answer() -> Response:
        shown = _shown(server, instances)
        part = rendered_part(offer.media_type, [shown.thumbnail(number, options, offer.media_type)])
        return multipart_response(offer.media_type, [part]) if offer.multipart else single_part_response(part)

    return guarded(_tagged(instances, offer, answer))


def _numbers(frame_list: str, instance: StoredInstance) -> list[int]:
    """The frames one by one. Raises Problem, FrameOutOfRange."""
    ranges = frame_ranges(frame_list)
    highest = max(one[-1] for one in ranges)
    # before a range is written out: it may name any number
    if highest > max(instance.number_of_frames, 1):
        raise FrameOutOfRange(f"there is no frame {highest}; the instance has {max(instance.number_of_frames, 1)}")
    return list(chain.from_iterable(ranges))


def _tagged(instances: Sequence[StoredInstance], offer: Offer, answer: Callable[[], Response]) -> Response:
    return conditional(entity_tag(instances, str(offer), request.path, request.query_string.decode("latin-1")), answer)


def _offers(rendered: RenderedInstance, numbers: Sequence[int] | None) -> tuple[Offer, ...]:
    """Single parts first, except for several frames: those fit into one part only as a moving picture."""
    single = tuple(map(Offer, rendered.media_types))
    if not rendered.is_image:
        return (*single, *(Offer(media_type, multipart=True) for media_type in rendered.media_types))
    multipart = tuple(Offer(media_type, multipart=True) for media_type in _PART_MEDIA_TYPES)
    if numbers is not None and len(numbers) > 1:
        return (*multipart, *(offer for offer in single if offer.media_type == "image/gif"))
    return (*single, *multipart)


def _one(
    rendered: RenderedInstance, numbers: Sequence[int] | None, options: RenderingOptions, offer: Offer
) -> Response:
    if offer.multipart and rendered.is_image:
        # a part for each frame
        each: Sequence[int] = numbers or range(1, rendered.number_of_frames + 1)
        pictures = (rendered.render([number], options, offer.media_type) for number in each)
        parts = (rendered_part(offer.media_type, picture) for picture in pictures)
        return multipart_response(offer.media_type, parts)
    part = rendered_part(offer.media_type, rendered.render(numbers, options, offer.media_type))
    return multipart_response(offer.media_type, [part]) if offer.multipart else single_part_response(part)


def _several(server: OriginServer, instances: Sequence[StoredInstance], options: RenderingOptions) -> Response:
    """A part for each instance that can be shown, or one picture that stands for all where a single part is wanted."""
    ranges = accepted()
    refused: list[Offer] = []
    failure: Exception | None = None
    for instance in _representatives(instances):
        rendered = RenderedInstance(server.storage, instance, server.renderings)
        offers = [Offer(media_type, multipart=True) for media_type in rendered.media_types]
        offers += map(Offer, rendered.media_types)
        offer = choose(ranges, offers)
        if offer is None:
            refused += offers
            continue
        if offer.multipart:
            return _parts_response(server, instances, options, ranges)
        try:
            return _one(rendered, None, options, offer)
        except (CannotDecode, Problem) as error:
            failure = error
    if failure is not None:
        raise failure
    raise _nothing_to_show(refused)


def _parts_response(
    server: OriginServer, instances: Sequence[StoredInstance], options: RenderingOptions, ranges: Sequence[MediaType]
) -> Response:
    parts = _instance_parts(server, instances, options, ranges)
    first_media_type, first = next(parts)
    return multipart_response(first_media_type, chain([first], (part for _, part in parts)))


def _instance_parts(
    server: OriginServer, instances: Sequence[StoredInstance], options: RenderingOptions, ranges: Sequence[MediaType]
) -> Generator[tuple[str, OutgoingPart], None, None]:
    """Raises Problem or CannotDecode where not one can be shown."""
    refused: list[Offer] = []
    failure: Exception | None = None
    shown = 0
    for instance in instances:
        rendered = RenderedInstance(server.storage, instance, server.renderings)
        offers = [Offer(media_type, multipart=True) for media_type in rendered.media_types]
        offer = choose(ranges, offers)
        if offer is None:
            refused += offers
            continue
        try:
            pieces = rendered.render(None, options, offer.media_type)
        except (CannotDecode, Problem) as error:
            failure = error
            continue
        shown += 1
        yield offer.media_type, rendered_part(offer.media_type, pieces)
    if not shown:
        raise failure or _nothing_to_show(refused)


def _nothing_to_show(refused: Sequence[Offer]) -> Problem:
    if refused:
        return not_acceptable(tuple(refused))
    return Problem(
        HTTPStatus.NOT_ACCEPTABLE, "Nothing here can be rendered; retrieve it as application/dicom, or its metadata."
    )


def _shown(server: OriginServer, instances: Sequence[StoredInstance]) -> RenderedInstance:
    """What stands for all of them: an image if there is one, else the first."""
    candidates = (
        RenderedInstance(server.storage, instance, server.renderings) for instance in _representatives(instances)
    )
    first = next(candidates)
    return next((one for one in chain([first], candidates) if one.is_image), first)


def _representatives(instances: Sequence[StoredInstance]) -> Iterable[StoredInstance]:
    """The middle instance of each series, then others of them: what shows best what it is."""
    by_series = [list(group) for _, group in groupby(instances, key=lambda instance: instance.series_instance_uid)]
    middles = [series[len(series) // 2] for series in by_series]
    others = (series[place] for series in by_series for place in (0, -1) if len(series) > 1)
    return list(dict.fromkeys(chain(middles, others)))[:_MOST_TRIED]


def rendered_part(media_type: str, pieces: Pieces) -> OutgoingPart:
    content_type = f"{media_type}; charset=utf-8" if media_type in ("text/html", "text/plain") else media_type
    return OutgoingPart(content_type, partial(_content, pieces), sum(map(len, pieces)))


def _content(pieces: Pieces) -> Generator[bytes, None, None]:
    for piece in pieces:
        yield from slices(memoryview(piece))


def guarded(response: Response) -> Response:
    """What others have put into objects must not act in a browser as if it were ours."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype in _PAGES:
        response.headers["Content-Security-Policy"] = _NO_SCRIPTS
    return response
