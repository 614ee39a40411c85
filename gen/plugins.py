"""Add a method, algorithm or style without changing gen: $GEN_PLUGINS names the modules to import.

Tabs of the page are named by `gen app --tabs`, because they are imported after the page has set gradio up.
"""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from gen.errors import BadSetting, GenError


def load_plugins() -> None:
    """Import the modules of $GEN_PLUGINS, a comma-separated list of module names and .py files.

    Each registers what it brings when it is imported, and is imported once. Raises `BadSetting` for one that cannot be
    imported.
    """
    names = [part.strip() for part in os.environ.get("GEN_PLUGINS", "").split(",") if part.strip()]
    # Worker processes read the variable again, and Ray's have another working directory.
    names = [str(Path(name).resolve()) if name.endswith(".py") else name for name in names]
    if names:
        os.environ["GEN_PLUGINS"] = ",".join(names)
    for name in names:
        import_plugin(name, "GEN_PLUGINS")


def import_plugin(name: str, setting: str) -> ModuleType:
    """Import a module by its name or its .py file. Raises `BadSetting`, which names the `setting`, if that fails."""
    module = name
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise BadSetting(f"{setting}: {name}: there is no such file.")
        # The file's folder must be on the path: saved pipelines name the module, and diffusers imports it again.
        if (folder := str(Path(name).resolve().parent)) not in sys.path:
            sys.path.insert(0, folder)
        module = Path(name).stem
    try:
        found = importlib.import_module(module)
    except GenError:
        raise
    except Exception as error:  # whatever the user's file raises
        raise BadSetting(f"{setting}: {name} cannot be imported ({type(error).__name__}: {error}).") from error
    if name.endswith(".py") and Path(found.__file__ or "").resolve() != Path(name).resolve():
        raise BadSetting(f"{setting}: {name}: another module is called {module}; rename the file.")
    return found
