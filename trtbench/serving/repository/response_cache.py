"""The server's side of a response cache: the flags that give it one, where its Triton brings the library."""

from __future__ import annotations

from trtbench.scenario.deployment.response_cache import ResponseCache
from trtbench.scenario.parts.part import ScenarioError
from trtbench.serving.server.installation import TritonInstallation


def cache_flags(cache: ResponseCache | None, installation: TritonInstallation) -> tuple[str, ...]:
    """None without a cache. ScenarioError where this Triton cannot make one."""
    if cache is None:
        return ()
    library = installation.caches / cache.kind / f"libtritoncache_{cache.kind}.so"
    if not library.is_file():
        there = sorted(found.parent.name for found in installation.caches.glob("*/libtritoncache_*.so"))
        raise ScenarioError(
            f"response_cache.kind = {cache.kind!r}: this Triton ({installation.source}) has no {library.name} in {installation.caches}; "
            f"it has {', '.join(there) or 'none'}: choose one of them, null, or an image that brings it"
        )
    settings = (f"--cache-config={cache.kind},{key}={value}" for key, value in cache.settings)
    return (f"--cache-directory={installation.caches}", *settings)
