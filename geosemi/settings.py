"""The base of all settings: frozen, closed values that every room defines for itself and `config.py` composes."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen pydantic settings that refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
