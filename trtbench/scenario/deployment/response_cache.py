"""Triton's response cache: an answer that was given once is given again without the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trtbench.scenario.parts.bounds import CacheMb, Database, Port
from trtbench.scenario.parts.part import Part

_BYTES_PER_MB = 1_000_000
DECOUPLED_REASON = "Response Cache does not currently support model ... with 'decoupled' transaction policy"
"""Triton's own words when such a model asks for it."""


class LocalCache(Part):
    """In the server's own memory, so every server of a deployment has one of its own. The least recently used answer goes first."""

    kind: Literal["local"]
    size_mb: CacheMb = Field(description="Memory of the cache, in megabytes (1,000,000 bytes).")

    @property
    def label(self) -> str:
        return f"{self.size_mb:.15g}"

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        return (("size", str(max(1, round(self.size_mb * _BYTES_PER_MB)))),)


class RedisCache(Part):
    """In a Redis that is there already: several servers share it, and it outlives them.

    Name and password are read by Triton from TRITONCACHE_REDIS_USERNAME and TRITONCACHE_REDIS_PASSWORD, and stand in no file.
    """

    kind: Literal["redis"]
    host: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", max_length=253, description="Name or address of the Redis server.")
    port: Port = 6379
    db: Database | None = Field(None, description="Number of the database there; null: the server's default.")

    @property
    def label(self) -> str:
        return f"redis{'' if self.db is None else self.db}"

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        return (("host", self.host), ("port", str(self.port)), *((("db", str(self.db)),) if self.db is not None else ()))


ResponseCache = Annotated[LocalCache | RedisCache, Field(discriminator="kind")]
