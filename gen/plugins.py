"""Your own method, algorithm, style or tab without a change in gen: $GEN_PLUGINS names the modules to import."""

import importlib
import os
import sys
from pathlib import Path

from gen.errors import BadSetting


def load_plugins() -> None:
    """Import the modules of $GEN_PLUGINS, a comma-separated list of module names and .py files.

    Each registers what it brings when it is imported. Raises `BadSetting` for one that cannot be imported.
    """
    for name in filter(None, (part.strip() for part in os.environ.get("GEN_PLUGINS", "").split(","))):
        module = name
        if name.endswith(".py"):
            # The file's folder must be on the path: saved pipelines name the module, and diffusers imports it again.
            sys.path.insert(0, str(Path(name).resolve().parent))
            module = Path(name).stem
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise BadSetting(f"GEN_PLUGINS: {name} cannot be imported ({error}).") from error
