"""An interpreter with NumPy 1.26 for Triton's Python stub: the one of Triton 24.10 cannot hold string tensors under NumPy 2.

The stub takes its packages from the virtual environment of the first `python3` on PATH (PYTHONPATH it does not heed). So a virtual
environment is laid out that has NumPy 1.26 alone, and after it the packages of this one.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

UNPACKED = Path(sys.prefix) / "numpy1"
"""Where scripts/setup.sh puts it."""


def variables(directory: Path, path: str) -> dict[str, str]:
    """For a server whose Python models shall see NumPy 1.26. `path`: its PATH otherwise."""
    packages = directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    for package in UNPACKED.iterdir():
        (packages / package.name).symlink_to(package)
    (packages / "after.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (directory / "bin").mkdir()
    base = Path(sys._base_executable)  # type: ignore[attr-defined]
    (directory / "bin" / "python3").symlink_to(base)
    (directory / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    return {"PATH": f"{directory / 'bin'}:{path}"}
