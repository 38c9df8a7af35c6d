"""GPU settings that are held during a run: clocks, power, modes, free memory; and the required state of the GPUs before a stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from trtbench.scenario.parts.bounds import Celsius, ClockMhz, GpuIndex, GpuShare, MemoryGib, Price, Seconds, Watts
from trtbench.scenario.parts.choices import ComputeMode
from trtbench.scenario.parts.part import Part

GpuUuid = Annotated[str, StringConstraints(pattern=r"^(GPU|MIG)-[0-9A-Fa-f-]{4,64}$")]
"""UUIDs as `nvidia-smi -L` shows them."""

GpuName = GpuIndex | GpuUuid
"""A GPU by its index in nvidia-smi or by its UUID."""


class CoolDown(Part):
    temperature_c: Celsius = Field(description="Temperature that each GPU must be at or below before a stage starts.")
    timeout_s: Seconds = Field(
        300.0, description="Longest wait before a stage. It then starts with a warm GPU, and the verdict states this."
    )


class GpuControl(Part):
    """GPU settings that trtbench sets before the first server starts and restores when the run ends."""

    devices: tuple[GpuName, ...] | None = Field(
        None, min_length=1, description="GPU indices of nvidia-smi, or UUIDs (GPU-... or MIG-...); null: every GPU."
    )
    sm_clock_mhz: ClockMhz | Literal["base", "max"] | None = Field(
        None,
        description="Lock the SM clock at this value; base: the clock that the GPU sustains at its power limit; max: the highest.",
    )
    memory_clock_mhz: ClockMhz | Literal["max"] | None = Field(None, description="Lock the memory clock.")
    power_limit_w: Watts | None = Field(None, description="Power limit, within what the GPU allows.")
    persistence_mode: bool | None = Field(None, description="Keep the driver loaded between processes.")
    compute_mode: ComputeMode | None = Field(None, description="exclusive_process: only one process may use the GPU.")
    memory_ballast_gib: MemoryGib | None = Field(None, description="GPU memory that trtbench allocates before the server starts and holds.")
    memory_leave_free_gib: MemoryGib | None = Field(
        None, description="GPU memory that trtbench leaves free; it allocates the rest. Give this or memory_ballast_gib."
    )
    cool_down: CoolDown | None = Field(None, description="Wait before each stage until the GPUs are cool; null: do not wait.")
    require_idle: bool = Field(True, description="Refuse to start while other processes use the GPUs; false: only note them.")

    @model_validator(mode="after")
    def _fits_together(self) -> GpuControl:
        if self.devices is not None and len(set(self.devices)) < len(self.devices):
            raise ValueError(f"devices {list(self.devices)} names one twice: name each GPU once")
        if self.memory_ballast_gib is not None and self.memory_leave_free_gib is not None:
            raise ValueError("give memory_ballast_gib or memory_leave_free_gib, not both")
        if self.compute_mode == "exclusive_process" and self.holds_memory:
            raise ValueError(
                "compute_mode exclusive_process lets one process in, and the ballast's would be it: "
                "leave out compute_mode, or memory_ballast_gib and memory_leave_free_gib"
            )
        return self

    @property
    def holds_memory(self) -> bool:
        return self.memory_ballast_gib is not None or self.memory_leave_free_gib is not None


class Cost(Part):
    """The price of GPUs, from which the report computes the price of tokens. It has no effect on the load."""

    gpu_hour_price: Price | None = Field(None, description="Price of one GPU for one hour, in any currency; null: no prices.")
    gpus: GpuShare | None = Field(
        None, description="Number of GPUs that the price counts, as 8, or 0.5 for a half; null: those on which the server has memory."
    )
