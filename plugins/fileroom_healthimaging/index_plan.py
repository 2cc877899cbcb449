"""What has to be done for versions that were told: worked out from what is known, before anything is changed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from .allotment import allotted
from .image_set_rows import ImageSet, ImageSetRows, Neighbourhood
from .image_set_version import ImageSetName
from .read_versions import Document, ReadVersion, digest_of
from .told_versions import Told, is_newer_document, sum_of


@dataclass(slots=True)
class Plan:
    """`before` and `after` are all that have to do with each other; `told` is new history.

    The rows in the core of those of `renewed` are made anew together, as they disagree about what they share; those of
    `applied` are what they should be: they have `own` instances from now on.
    """

    neighbourhood: Neighbourhood
    before: dict[ImageSetName, ImageSet]
    after: dict[ImageSetName, ImageSet]
    told: dict[ImageSetName, list[Told]] = field(default_factory=dict)
    documents: dict[ImageSetName, Document] = field(default_factory=dict)  # that are new
    applied: list[ImageSetName] = field(default_factory=list)
    renewed: set[ImageSetName] = field(default_factory=set)
    own: dict[str, frozenset[str]] = field(default_factory=dict)
    # what is known to be said of those patients, by the digests of it
    patient_keys: frozenset[str] = frozenset()
    patients: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def written(self) -> list[ImageSetName]:
        """Those whose rows change."""
        return sorted(name for name, one in self.after.items() if one != self.before.get(name))


def plan(rows: ImageSetRows, read: Sequence[ReadVersion], level: str, again: Collection[ImageSetName] = ()) -> Plan:
    """`again` are to be brought to `level`, though nobody told anything of them."""
    names = frozenset([*(one.name for one in read), *again])
    known = rows.named(names)
    history = rows.told([one.pk for one in known.values()])
    made = Plan(Neighbourhood(names, frozenset(), frozenset(), frozenset()), {}, {})
    changed: dict[ImageSetName, ImageSet] = {}
    for name in sorted(names):
        of_it = [one for one in read if one.name == name]
        before = known.get(name)
        changed[name] = _taken(before, history[before.pk] if before is not None else [], of_it, made)
    before_all, made.neighbourhood = _neighbours(rows, known, changed, names, made)
    made.before = before_all
    made.after = before_all | changed
    _choose(made, level, again)
    for name in made.applied:
        made.after[name] = replace(made.after[name], index_level=level if made.after[name].is_live else None)
    for name in made.written:
        made.after[name] = replace(made.after[name], change=uuid4().hex)
    return made


def _taken(before: ImageSet | None, history: Sequence[Told], read: Sequence[ReadVersion], made: Plan) -> ImageSet:
    """The image set after what was told of it."""
    name = before.name if before is not None else read[0].name
    known = {told.digest for told in history}
    new = list({one.told.digest: one.told for one in read if one.told.digest not in known}.values())
    if new:
        made.told[name] = new
    after = ImageSet(name, Told()) if before is None else before
    if new:
        after = replace(after, told=sum_of([*history, *new]))
    for one in read:
        if one.document is None or not is_newer_document(
            one.told.version_id, one.document.digest, after.document_version_id, after.document_digest or ""
        ):
            continue
        made.documents[name] = one.document
        metadata = one.document.metadata
        after = replace(
            after,
            document_version_id=one.told.version_id,
            document_digest=one.document.digest,
            study_instance_uid=metadata.study_instance_uid,
            patient_key=one.document.patient_key,
            patient_digest=digest_of(metadata.patient_attributes),
            study_digest=digest_of(metadata.study_attributes),
            series=one.document.series,
        )
    return after if after.is_live else replace(after, series={})


def _neighbours(
    rows: ImageSetRows,
    known: Mapping[ImageSetName, ImageSet],
    changed: Mapping[ImageSetName, ImageSet],
    names: frozenset[ImageSetName],
    made: Plan,
) -> tuple[dict[ImageSetName, ImageSet], Neighbourhood]:
    """All that have to do with what changes, before and after it: who shares a series, a study or a patient with one.

    A patient of whom all say the same needs nobody else, and may have very many. Where they do not, who speaks for it
    may change with any of them: with its rank, its instances, or its end.
    """
    neighbourhood = _around(names, [*known.values(), *changed.values()], ())
    while True:
        found = rows.neighbours(neighbourhood)
        members = [*found.values(), *changed.values()]
        made.patient_keys = frozenset(one.patient_key for one in members if one.patient_key is not None)
        made.patients = rows.patient_digests(made.patient_keys)
        said = {key: set(digests) for key, digests in made.patients.items()}
        for one in members:
            if one.patient_key is not None:
                said.setdefault(one.patient_key, set()).add(one.patient_digest or "")
        wider = _around(names, members, [key for key, digests in said.items() if len(digests) > 1])
        if wider == neighbourhood:
            return found, neighbourhood
        neighbourhood = wider


def _around(names: frozenset[ImageSetName], members: Iterable[ImageSet], patients: Iterable[str]) -> Neighbourhood:
    live = [one for one in members if one.document_digest is not None]
    return Neighbourhood(
        names,
        frozenset(one.study_instance_uid for one in live if one.study_instance_uid is not None),
        frozenset(uid for one in live for uid in one.series),
        frozenset(patients),
    )


def _choose(made: Plan, level: str, again: Collection[ImageSetName]) -> None:
    before, after = made.before, made.after
    own_before = allotted(one.holder for one in before.values() if one.is_live)
    made.own = allotted(one.holder for one in after.values() if one.is_live)
    disputed = _disputed([*before.values(), *after.values()])
    for name, one in after.items():
        was = before.get(name)
        was_live = was is not None and was.is_live
        is_disputed = one.is_live and bool(disputed & _shares(one))
        if is_disputed and made.written:
            made.renewed.add(name)
        if (
            name in made.renewed
            or name in again
            or was_live != one.is_live
            or (one.is_live and (name in made.documents or own_before.get(one.key) != made.own[one.key]))
            or (one.is_live and name in made.told and one.index_level != level)
        ):
            made.applied.append(name)
    # the first tells what all share: which one that is does not depend on the order of events
    made.applied.sort(key=lambda name: (not after[name].is_live, after[name].holder.rank()))


def _disputed(members: Iterable[ImageSet]) -> set[str]:
    """Studies, series and patients of which image sets say different things."""
    said: dict[str, set[tuple[str | None, ...]]] = {}
    for one in members:
        if not one.is_live:
            continue
        for share in _shares(one):
            about: tuple[str | None, ...] = (one.patient_digest,)
            if not share.startswith("patient "):
                about += (one.study_digest, one.patient_key)
            said.setdefault(share, set()).add(about)
    return {share for share, different in said.items() if len(different) > 1}


def _shares(one: ImageSet) -> set[str]:
    shares = {f"study {one.study_instance_uid}", *(f"series {uid}" for uid in one.series)}
    return shares | ({f"patient {one.patient_key}"} if one.patient_key is not None else set())
