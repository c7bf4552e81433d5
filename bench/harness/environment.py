"""The environment that the peers, and triohttp beside them, are installed into.

Rule 1: it lies in ``bench/.venv``, is made by uv, and is never the project's own environment.
Rule 2: triohttp is installed as an editable package, so every run measures the tree as it stands.
Rule 3: installing happens again only when what asks for it (requirements.txt, pyproject.toml) has changed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from .report import progress

__all__ = ["BENCH", "environment_python", "installed_versions"]

BENCH = Path(__file__).resolve().parent.parent
_ROOT = BENCH.parent
_ENVIRONMENT = BENCH / ".venv"
_ASKED_BY = (BENCH / "requirements.txt", _ROOT / "pyproject.toml")


def environment_python() -> Path:
    """Return the interpreter of an environment that holds everything the bench runs, making it first if need be."""
    python = _ENVIRONMENT / "bin" / "python"
    stamp = _ENVIRONMENT / "installed.sha256"
    wanted = hashlib.sha256(b"\0".join(path.read_bytes() for path in _ASKED_BY)).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    uv = shutil.which("uv")
    if uv is None:
        raise SystemExit("bench: uv is needed to install the peers (python -m pip install uv)")
    progress("installing the peers into bench/.venv")
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(_ENVIRONMENT)], check=True)
    what = ["--requirement", str(BENCH / "requirements.txt"), "--editable", str(_ROOT)]
    subprocess.run([uv, "pip", "install", "--quiet", "--upgrade", "--python", str(python), *what], check=True)
    stamp.write_text(wanted)
    return python


def installed_versions(python: Path) -> dict[str, str]:
    """Return the version of every distribution in the environment, by its name."""
    program = (
        "import importlib.metadata, json; "
        "print(json.dumps({d.name.lower(): d.version for d in importlib.metadata.distributions()}))"
    )
    answer = subprocess.run([str(python), "-c", program], check=True, capture_output=True, text=True)
    versions: dict[str, str] = json.loads(answer.stdout)
    return versions
