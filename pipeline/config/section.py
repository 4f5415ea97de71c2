"""What every configuration section is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A part of the configuration: frozen, and without room for misspelled keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
