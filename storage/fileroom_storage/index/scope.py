"""Whose patients somebody may see: a condition in SQL, so that nothing else is ever read; and who may change what."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, exists, not_, select

from ..errors import NotAuthorized
from .tables import DEFAULT_ISSUER, Tables

# the values of IssuerOfPatientID (0010,0021) whose patients are seen; None: all
Scope = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Authority:
    """What somebody who brings objects may do: only in this scope, and only then reject what is there."""

    scope: Scope = None
    may_reject: bool = True

    def check(self, issuer_of_patient_id: str | None, *, is_rejection_note: bool) -> None:
        """Raises NotAuthorized for an object that says so of itself."""
        if self.scope is not None and (issuer_of_patient_id or DEFAULT_ISSUER) not in self.scope:
            raise NotAuthorized("its issuer of Patient ID is outside of your scope")
        if is_rejection_note and not self.may_reject:
            raise NotAuthorized("a rejection note needs the permission delete")


def issuers_within(tables: Tables, scope: frozenset[str]) -> Select[int]:
    """The keys of the issuers of a scope."""
    issuer = tables.issuer
    return select(issuer.c.pk).where(issuer.c.issuer_of_patient_id.in_(sorted(scope)))


def patient_within(tables: Tables, scope: frozenset[str]) -> ColumnElement[bool]:
    """Of a row of the patient's table."""
    return tables.patient.c.issuer_pk.in_(issuers_within(tables, scope))


def deletion_within(tables: Tables, scope: frozenset[str]) -> ColumnElement[bool]:
    """Of a row of the deletion's table: whether all that it keeps, and is known of whom, is of the scope."""
    deletion, kept = tables.deletion, tables.deleted_object
    of_it, issuer = kept.c.deletion_pk == deletion.c.pk, kept.c.issuer_of_patient_id
    inside = issuer.in_(sorted(scope))
    return and_(
        exists().where(of_it, inside).correlate(deletion),
        not_(exists().where(of_it, issuer.is_not(None), not_(inside)).correlate(deletion)),
        not_(_has_come_in_elsewhere(tables, scope)),
    )


def _has_come_in_elsewhere(tables: Tables, scope: frozenset[str]) -> ColumnElement[bool]:
    """Whether a study of a deletion is now there as somebody else's: it must not be added to."""
    deletion, kept, study, patient = tables.deletion, tables.deleted_object, tables.study, tables.patient
    return (
        exists()
        .where(
            kept.c.deletion_pk == deletion.c.pk,
            study.c.study_instance_uid == kept.c.study_instance_uid,
            patient.c.pk == study.c.patient_pk,
            not_(patient_within(tables, scope)),
        )
        .correlate(deletion)
    )
