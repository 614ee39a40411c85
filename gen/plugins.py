"""Add a method, algorithm or style without changing gen: $GEN_PLUGINS names the modules to import.

Tabs of the page are named by `gen app --tabs`, because they are imported after the page has set gradio up.
"""

import importlib
import importlib.util
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
    try:
        return _import_file(Path(name).resolve()) if name.endswith(".py") else importlib.import_module(name)
    except GenError as error:
        raise BadSetting(f"{setting}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        raise BadSetting(f"{setting}: {name} cannot be imported ({type(error).__name__}: {error}).") from error


def find_class(name: str, setting: str) -> type | None:
    """The class that MODULE:CLASS or FILE.py:CLASS names; None if there is none. Raises `BadSetting` as above."""
    module, _, attribute = name.rpartition(":")
    found = getattr(import_plugin(module, setting), attribute, None) if module else None
    return found if isinstance(found, type) else None


def _import_file(file: Path) -> ModuleType:
    """Import a file as the module that it is named after, once."""
    if not file.is_file():
        raise BadSetting(f"{file}: no such file.")
    if "." in file.stem:
        raise BadSetting(f"{file}: a module's name has no dots; rename the file.")
    loaded, spec = sys.modules.get(file.stem), importlib.util.find_spec(file.stem)
    origin = loaded.__file__ if loaded else spec.origin if spec else None
    if (loaded or spec) and (origin is None or Path(origin).resolve() != file):
        raise BadSetting(f"{file}: another module is called {file.stem}; rename the file.")
    if loaded:
        return loaded
    # Worker processes, and diffusers when it loads a saved pipeline, import the module by its name. At the end of the
    # path, where other files of the folder hide no module of the same name.
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    return importlib.import_module(file.stem)
