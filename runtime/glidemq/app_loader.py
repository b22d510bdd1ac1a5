"""From `module:app` on a command line to the App object, or to one line that says what is wrong."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from glidemq.app import App
from glidemq.errors import ConfigurationError


def import_app(spec: str) -> App:
    """Import the module, with the working directory on the import path, and return its App.

    spec: "package.module:attribute"; the attribute may have dots.

    Raises:
        ConfigurationError: one line: a malformed spec, no such module, an error while importing it (with the
            file and line that raised), no such attribute (with the App objects that the module has), not an
            App, or an App without processors.
    """
    module_name, colon, attribute = spec.strip().partition(":")
    if not module_name or (colon and not attribute):
        raise ConfigurationError(
            f"{spec!r} does not name an app: write module:attribute, for example main:app"
        )
    module = _import_module(module_name, spec)
    if not attribute:
        raise ConfigurationError(f"{spec!r} does not say which app of the module to run: {_apps_in(module)}")
    app = _attribute(module, attribute)
    if not isinstance(app, App):
        raise ConfigurationError(
            f"{spec!r} is of type {type(app).__name__}, not a glidemq.App: {_apps_in(module)}"
        )
    if not app.processors:
        raise ConfigurationError(
            f'{spec!r} has no processors: decorate a function with @{attribute}.processor("queue name"),'
            " and import the module where it is"
        )
    return app


def _import_module(name: str, spec: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # a console script does not have the working directory on its path
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"cannot import {spec!r}: there is no module {error.name!r} in {here} or on the import path"
            ) from None
        raise _broken(spec, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(spec, error) from error


def _attribute(module: ModuleType, path: str) -> Any:
    value: Any = module
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise ConfigurationError(
                f"module {module.__name__!r} has no attribute {path!r}: {_apps_in(module)}"
            ) from None
    return value


def _apps_in(module: ModuleType) -> str:
    names = [f"{module.__name__}:{name}" for name, value in vars(module).items() if isinstance(value, App)]
    if not names:
        return "it holds no App object (app = App())"
    return f"it holds {', '.join(sorted(names))}"


def _broken(spec: str, error: BaseException) -> ConfigurationError:
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}"
    else:
        # The last frame is where it was raised, unless that is inside the import machinery.
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")
        ]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "the module"
    reason = " ".join(str(error).split())
    what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return ConfigurationError(f"cannot import {spec!r}: {place} raised {what}")
