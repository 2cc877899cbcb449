"""The operations of the fake service: parameters of botocore's model in, its results out."""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.fakes.dicom_import_jobs import ImportJob, ImportJobs
from tests.fakes.image_set_metadata import (
    Document,
    Unacceptable,
    agree,
    levels,
    merged,
    only_series,
    parsed,
    study_instance_uid,
    subset,
    touched,
    updated,
)
from tests.fakes.image_set_search import search, summary
from tests.fakes.image_sets import Datastore, ImageSet, ImageSets, Version
from tests.fakes.wire import Parameters, ServiceError

Result = dict[str, Any]


class Operations:
    """One method an operation, called like botocore's client calls it."""

    def __init__(self, image_sets: ImageSets, jobs: ImportJobs) -> None:
        self._sets = image_sets
        self._jobs = jobs
        self._stores_by_token: dict[str, Datastore] = {}

    # data stores

    def create_datastore(self, asked: Parameters) -> Result:
        store = self._stores_by_token.get(asked["clientToken"])
        if store is None:
            lossless = asked.get("losslessStorageFormat", "HTJ2K")
            store = self._sets.create_datastore(asked.get("datastoreName", "store"), lossless)
            self._stores_by_token[asked["clientToken"]] = store
            self._sets.tags[self._sets.arn(store.datastore_id)] = dict(asked.get("tags", {}))
        return {"datastoreId": store.datastore_id, "datastoreStatus": "CREATING"}

    def delete_datastore(self, asked: Parameters) -> Result:
        self._sets.delete_datastore(self._sets.datastore(asked["datastoreId"]))
        return {"datastoreId": asked["datastoreId"], "datastoreStatus": "DELETING"}

    def get_datastore(self, asked: Parameters) -> Result:
        store = self._sets.datastore(asked["datastoreId"])
        told = {**self._summary_of(store), "losslessStorageFormat": store.lossless_storage_format}
        return {"datastoreProperties": told}

    def list_datastores(self, asked: Parameters) -> Result:
        wanted = asked.get("datastoreStatus")
        found = [self._summary_of(one) for one in self._sets.datastores.values() if wanted in (None, one.status)]
        return _page("datastoreSummaries", found, asked)

    def _summary_of(self, store: Datastore) -> Result:
        return {
            "datastoreId": store.datastore_id,
            "datastoreName": store.name,
            "datastoreStatus": store.status,
            "datastoreArn": self._sets.arn(store.datastore_id),
            "createdAt": store.created_at,
            "updatedAt": store.updated_at,
        }

    # image sets

    def get_image_set(self, asked: Parameters) -> Result:
        image_set = self._image_set(asked)
        told = {
            **_properties(image_set, image_set.version(asked.get("versionId")), "imageSetWorkflowStatus"),
            "datastoreId": image_set.datastore_id,
            "imageSetArn": self._sets.arn(image_set.datastore_id, image_set.image_set_id),
            "storageTier": image_set.storage_tier,
        }
        if image_set.last_accessed_at is not None:
            told["lastAccessedAt"] = image_set.last_accessed_at
        return told

    def get_image_set_metadata(self, asked: Parameters) -> Result:
        image_set = self._readable(asked)
        document = json.dumps(image_set.version(asked.get("versionId")).document).encode()
        # no time stamp in it: the same version is the same bytes
        blob = gzip.compress(document, mtime=0)
        return {"imageSetMetadataBlob": blob, "contentType": "application/json", "contentEncoding": "gzip"}

    def get_image_frame(self, asked: Parameters) -> Result:
        image_set = self._readable(asked)
        frame = image_set.frames.get(asked["imageFrameInformation"]["imageFrameId"])
        if frame is None:
            raise ServiceError("ResourceNotFoundException", "the image set has no such frame")
        return {"imageFrameBlob": frame, "contentType": "application/octet-stream"}

    def list_image_set_versions(self, asked: Parameters) -> Result:
        image_set = self._image_set(asked)
        told = [_properties(image_set, one, "ImageSetWorkflowStatus") for one in reversed(image_set.versions)]
        return _page("imageSetPropertiesList", told, asked)

    def search_image_sets(self, asked: Parameters) -> Result:
        criteria = asked.get("searchCriteria", {})
        found = search(self._sets.datastore(asked["datastoreId"]).image_sets.values(), criteria)
        told = _page("imageSetsMetadataSummaries", [summary(one) for one in found], asked)
        return {**told, "sort": criteria["sort"]} if "sort" in criteria else told

    def _image_set(self, asked: Parameters) -> ImageSet:
        return self._sets.image_set(asked["datastoreId"], asked["imageSetId"])

    def _readable(self, asked: Parameters) -> ImageSet:
        image_set = self._image_set(asked)
        if image_set.latest.state == "DELETED":
            raise ServiceError("ResourceNotFoundException", "the image set is deleted")
        image_set.last_accessed_at = self._sets.clock.now()
        return image_set

    # what changes image sets; it answers with how it begins, and goes on by steps

    def update_image_set_metadata(self, asked: Parameters) -> Result:
        image_set = self._sets.writable(asked["datastoreId"], asked["imageSetId"], asked["latestVersionId"])
        updates = asked["updateImageSetMetadataUpdates"]
        if len(updates) != 1:
            raise ServiceError("ValidationException", "give either DICOMUpdates or revertToVersionId")
        for text in updates.get("DICOMUpdates", {}).values():
            parsed(text)
        together = self._others_of_the_study(image_set) if asked.get("includeStudyImageSets") else []
        force = asked.get("force")
        try:
            message = None
            documents = [_changed(image_set, updates, force=bool(force))]
            documents += [_changed(one, updates, force=bool(force), study_alone=True) for one in together]
        except Unacceptable as reason:
            message = str(reason)
            documents = [one.latest.document for one in (image_set, *together)]
        self._sets.next_version(image_set, "LOCKED", "UPDATING", document=image_set.latest.document, forced=force)
        self._sets.publish(image_set, "Image Set Updating")
        for one in together:
            self._sets.next_version(one, "LOCKED", "UPDATING_FOR_STUDY_CONSISTENCY", document=one.latest.document)
        told = _short(image_set, "latestVersionId")
        self._sets.transitions.begin(self._update([image_set, *together], documents, message))
        return {"datastoreId": image_set.datastore_id, **told}

    def _update(
        self, image_sets: Sequence[ImageSet], documents: Sequence[Document], message: str | None
    ) -> Iterator[None]:
        yield
        message = message or self._sets.transitions.failure()
        for image_set, document in zip(image_sets, documents, strict=True):
            if message is None:
                self._sets.put_document(image_set, document)
            self._finish(image_set, "UPDATED" if message is None else "UPDATE_FAILED", message)

    def _finish(self, image_set: ImageSet, workflow: str, message: str | None = None) -> None:
        self._sets.become(image_set, "ACTIVE", workflow, message)
        self._sets.publish(image_set, f"Image Set {workflow.replace('_', ' ').title()}")

    def _others_of_the_study(self, image_set: ImageSet) -> list[ImageSet]:
        study = study_instance_uid(image_set.latest.document)
        others = self._sets.datastore(image_set.datastore_id).image_sets.values()
        found = [
            one
            for one in others
            if one is not image_set and one.active and study_instance_uid(one.latest.document) == study
        ]
        if any(one.latest.state == "LOCKED" for one in found):
            raise ServiceError("ConflictException", "an image set of the study is LOCKED by another operation")
        return found

    def delete_image_set(self, asked: Parameters) -> Result:
        image_set = self._image_set(asked)
        self._sets.writable(asked["datastoreId"], asked["imageSetId"], str(image_set.latest.number))
        self._sets.become(image_set, "LOCKED", "DELETING")
        self._sets.publish(image_set, "Image Set Deleting")
        told = {
            "datastoreId": image_set.datastore_id,
            "imageSetId": image_set.image_set_id,
            "imageSetState": "LOCKED",
            "imageSetWorkflowStatus": "DELETING",
        }
        self._sets.transitions.begin(self._delete(image_set))
        return told

    def _delete(self, image_set: ImageSet) -> Iterator[None]:
        yield
        self._sets.become(image_set, "DELETED", "DELETED")
        image_set.frames.clear()
        self._sets.publish(image_set, "Image Set Deleted")

    def copy_image_set(self, asked: Parameters) -> Result:
        store = self._sets.datastore(asked["datastoreId"])
        said = asked["copyImageSetInformation"]
        source = self._sets.writable(
            asked["datastoreId"], asked["sourceImageSetId"], said["sourceImageSet"]["latestVersionId"]
        )
        copied = subset(source.latest.document, said["sourceImageSet"].get("DICOMCopies", {}).get("copiableAttributes"))
        frames = {name: source.frames[name] for name in _frame_ids(copied) if name in source.frames}
        destination = self._destination(store, said.get("destinationImageSet"), copied, asked)
        if destination is None:
            primary = bool(asked.get("promoteToPrimary"))
            destination = self._sets.new(store, copied, frames, "LOCKED", "COPYING", is_primary=primary)
            result = copied
        else:
            result = merged(destination.latest.document, copied)
            self._sets.next_version(destination, "LOCKED", "COPYING", document=destination.latest.document)
        destination.source_arn = self._sets.arn(source.datastore_id, source.image_set_id)
        self._sets.become(source, "LOCKED", "COPYING_WITH_READ_ONLY_ACCESS")
        self._sets.publish(destination, "Image Set Copying")
        self._sets.publish(source, "Image Set Copying With Read Only Access")
        told = {
            "datastoreId": store.datastore_id,
            "sourceImageSetProperties": self._copy_properties(source),
            "destinationImageSetProperties": self._copy_properties(destination),
        }
        self._sets.transitions.begin(self._copy(source, destination, result, frames))
        return told

    def _destination(
        self, store: Datastore, named: Parameters | None, copied: Document, asked: Parameters
    ) -> ImageSet | None:
        """The image set that a copy goes into; None for a new one."""
        if named is not None:
            destination = self._sets.writable(store.datastore_id, named["imageSetId"], named["latestVersionId"])
            same_series = only_series(destination.latest.document)[0] == only_series(copied)[0]
            if not same_series or not (asked.get("force") or agree(destination.latest.document, copied)):
                raise ServiceError("ValidationException", "source and destination differ in patient, study or series")
            return destination
        if not asked.get("promoteToPrimary"):
            return None
        primary = self._sets.primary_of(store, only_series(copied)[0])
        if primary is None:
            if not self._sets.may_be_primary(store, copied) and not asked.get("force"):
                raise ServiceError("ConflictException", "the primary image sets of the study tell otherwise of it")
            return None
        if levels(primary.latest.document) != levels(copied) or not agree(primary.latest.document, copied):
            raise ServiceError("ConflictException", "the primary image set of the series tells otherwise of it")
        return self._sets.writable(store.datastore_id, primary.image_set_id, str(primary.latest.number))

    def _copy(
        self, source: ImageSet, destination: ImageSet, result: Document, frames: Mapping[str, bytes]
    ) -> Iterator[None]:
        yield
        message = self._sets.transitions.failure()
        if message is None:
            destination.frames.update(frames)
            self._sets.put_document(destination, result)
        self._finish(destination, "COPIED" if message is None else "COPY_FAILED", message)
        self._finish(source, "COPIED" if message is None else "COPY_FAILED", message)

    def _copy_properties(self, image_set: ImageSet) -> Result:
        arn = self._sets.arn(image_set.datastore_id, image_set.image_set_id)
        return {**_short(image_set, "latestVersionId"), "imageSetArn": arn}

    # jobs that import

    def start_dicom_import_job(self, asked: Parameters) -> Result:
        before = len(self._jobs.jobs)
        job = self._jobs.start(asked)
        told = {
            "datastoreId": job.datastore_id,
            "jobId": job.job_id,
            "jobStatus": job.status,
            "submittedAt": job.submitted_at,
        }
        if len(self._jobs.jobs) > before:
            self._sets.transitions.begin(self._jobs.run(job))
        return told

    def get_dicom_import_job(self, asked: Parameters) -> Result:
        job = self._jobs.jobs.get(asked["jobId"])
        if job is None or job.datastore_id != asked["datastoreId"]:
            raise ServiceError("ResourceNotFoundException", "there is no such import job")
        return {"jobProperties": {**_job(job), "inputS3Uri": job.input_uri, "outputS3Uri": job.output_uri}}

    def list_dicom_import_jobs(self, asked: Parameters) -> Result:
        wanted = asked.get("jobStatus")
        self._sets.datastore(asked["datastoreId"])
        jobs = (one for one in self._jobs.jobs.values() if one.datastore_id == asked["datastoreId"])
        return _page("jobSummaries", [_job(one) for one in jobs if wanted in (None, one.status)], asked)

    # tags of resources

    def tag_resource(self, asked: Parameters) -> Result:
        self._tags(asked).update(asked["tags"])
        return {}

    def untag_resource(self, asked: Parameters) -> Result:
        for key in asked["tagKeys"]:
            self._tags(asked).pop(key, None)
        return {}

    def list_tags_for_resource(self, asked: Parameters) -> Result:
        return {"tags": self._tags(asked)}

    def _tags(self, asked: Parameters) -> dict[str, str]:
        arn = asked["resourceArn"]
        _, _, resource = arn.partition(":datastore/")
        datastore_id, _, image_set_id = resource.partition("/imageset/")
        if image_set_id:
            self._sets.image_set(datastore_id, image_set_id)
        else:
            self._sets.datastore(datastore_id)
        return self._sets.tags.setdefault(arn, {})


def _changed(image_set: ImageSet, updates: Parameters, *, force: bool, study_alone: bool = False) -> Document:
    """The document after an update, or after going back to a version."""
    if "revertToVersionId" in updates:
        return image_set.version(updates["revertToVersionId"]).document
    removable = updates["DICOMUpdates"].get("removableAttributes")
    updatable = updates["DICOMUpdates"].get("updatableAttributes")
    # by the developer guide, page "Updating image set metadata"
    if image_set.latest.is_primary and (touched(removable) | touched(updatable)) & {"Patient", "Series"}:
        raise Unacceptable("Patient and Series attributes of a primary image set cannot be updated")
    if study_alone:
        removable, updatable = (_of_the_study(text) for text in (removable, updatable))
    return updated(image_set.latest.document, removable, updatable, force=force)


def _of_the_study(attributes: bytes | None) -> bytes | None:
    """What attributes of a request say of patient and study."""
    if attributes is None:
        return None
    said = parsed(attributes)
    study = {name: value for name, value in said.get("Study", {}).items() if name != "Series"}
    return json.dumps({**said, "Study": study}).encode()


def _frame_ids(document: Document) -> Iterator[str]:
    for instance in only_series(document)[1]["Instances"].values():
        for frame in instance.get("ImageFrames") or []:
            yield frame["ID"]


def _short(image_set: ImageSet, version: str) -> Result:
    latest = image_set.latest
    return {
        "imageSetId": image_set.image_set_id,
        version: str(latest.number),
        "imageSetState": latest.state,
        "imageSetWorkflowStatus": latest.workflow,
        "createdAt": latest.created_at,
        "updatedAt": latest.updated_at,
    }


def _properties(image_set: ImageSet, version: Version, workflow: str) -> Result:
    """A version of an image set; the model writes the workflow status small in one answer and capital in another."""
    told: Result = {
        "imageSetId": image_set.image_set_id,
        "versionId": str(version.number),
        "imageSetState": version.state,
        workflow: version.workflow,
        "createdAt": version.created_at,
        "updatedAt": version.updated_at,
        "isPrimary": version.is_primary,
    }
    optional = {
        "deletedAt": version.deleted_at,
        "message": version.message,
        "overrides": None if version.forced is None else {"forced": version.forced},
    }
    return {**told, **{name: value for name, value in optional.items() if value is not None}}


def _job(job: ImportJob) -> Result:
    told: Result = {
        "jobId": job.job_id,
        "jobName": job.name,
        "jobStatus": job.status,
        "datastoreId": job.datastore_id,
        "dataAccessRoleArn": job.role_arn,
        "submittedAt": job.submitted_at,
    }
    optional = {"endedAt": job.ended_at, "message": job.message}
    return {**told, **{name: value for name, value in optional.items() if value is not None}}


def _page(name: str, items: Sequence[Result], asked: Parameters) -> Result:
    """One page of a list."""
    try:
        start = int(base64.b64decode(asked.get("nextToken", "MA==")))
    except ValueError as error:
        raise ServiceError("ValidationException", "nextToken is none of ours") from error
    end = start + asked.get("maxResults", 50)
    page: Result = {name: list(items[start:end])}
    return {**page, "nextToken": base64.b64encode(str(end).encode()).decode()} if end < len(items) else page
