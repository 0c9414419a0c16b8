"""Calibration: turns log-probabilities into confidences. Evaluation fits it, a bundle holds it."""

from pydantic import BaseModel, ConfigDict, Field


class Calibration(BaseModel):
    """The temperature of confidences (Guo et al., 2017), and the rows that it was fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    temperature: float = Field(1.0, gt=0)
    offset: float | None = Field(
        None,
        description="for open labels: the log-odds of being right are log-probability / "
        "temperature + offset (Platt, 1999); null: log-probability / temperature is the logarithm "
        "of the confidence",
    )
    fitted_on: str | None = None
