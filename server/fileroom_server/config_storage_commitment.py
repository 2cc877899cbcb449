"""The section [storage_commitment] of the configuration; conf/fileroom.toml gives the reasons."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Days = Annotated[float, Field(gt=0, le=366 * 86_400)]


class StorageCommitmentConfiguration(BaseModel):
    """How commitment is checked, and how long a requester that cannot be reached is tried."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    enabled: bool = True
    verify: Literal["size", "digest"] = "size"
    same_association: bool = True
    first_pause: Annotated[float, Field(gt=0, le=86_400)] = 30
    longest_pause: Annotated[float, Field(gt=0, le=86_400)] = 3600
    give_up_after: _Days = 7 * 86_400
    keep: _Days = 30 * 86_400

    @model_validator(mode="after")
    def _pauses_grow(self) -> "StorageCommitmentConfiguration":
        if self.first_pause > self.longest_pause:
            raise ValueError("first_pause is longer than longest_pause; pauses grow")
        return self
