"""How a confidence follows from a log-probability: what evaluation fits and a bundle carries."""

from pydantic import BaseModel, ConfigDict, Field


class Calibration(BaseModel):
    """Temperature of the confidence (Guo et al., 2017), and the rows that it was fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    temperature: float = Field(1.0, gt=0)
    offset: float | None = Field(
        None,
        description="of open labels: the log-odds of being right are their log-probability over "
        "the temperature, and this (Platt, 1999); null: the former is the confidence's logarithm",
    )
    fitted_on: str | None = None
