"""Benchmark suite for models served by NVIDIA Triton: from a checkpoint to a report.

The names in `__all__` are the public Python interface (docs/python.md). Each is imported at its first use, so that `import trtbench`
itself loads neither pandas nor the load generator.
"""

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` would come before a signal ends in one line

if TYPE_CHECKING:
    from trtbench.analysis.summary import Summary
    from trtbench.api.loaded_run import Run, load_run
    from trtbench.api.serve_and_bench import RunFailed, RunInterrupted, serve_and_bench
    from trtbench.errors import UserError
    from trtbench.rundir.lines import RunDirectoryError
    from trtbench.rundir.records import Event
    from trtbench.scenario.parts.part import ScenarioError
    from trtbench.scenario.scenario import Scenario

__version__ = "0.1.0"

__all__ = [
    "Event",
    "Run",
    "RunDirectoryError",
    "RunFailed",
    "RunInterrupted",
    "Scenario",
    "ScenarioError",
    "Summary",
    "UserError",
    "__version__",
    "load_run",
    "serve_and_bench",
]

_HOMES = {
    "Event": "rundir.records",
    "Run": "api.loaded_run",
    "RunDirectoryError": "rundir.lines",
    "RunFailed": "api.serve_and_bench",
    "RunInterrupted": "api.serve_and_bench",
    "Scenario": "scenario.scenario",
    "ScenarioError": "scenario.parts.part",
    "Summary": "analysis.summary",
    "UserError": "errors",
    "load_run": "api.loaded_run",
    "serve_and_bench": "api.serve_and_bench",
}


if not TYPE_CHECKING:  # a type checker that saw it would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name at its first use."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
