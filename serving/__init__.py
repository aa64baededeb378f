"""The Ray Serve application: ingress, one deployment per variant, performance encoder, Redis state.

`serve run serving.app` must find the *application* under `serving.app`, while inside the package that
name is a module, and importing the package must stay cheap. So this package is its own module class:
`app` is a property that builds the application when asked for, and stays one when the import system
binds the submodule of the same name over it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _ServingPackage(ModuleType):
    @property
    def app(self) -> Any:
        from importlib import import_module

        return import_module("serving.app").app

    @app.setter
    def app(self, module: ModuleType) -> None:
        """Ignored: the import system binding `serving.app`, the module."""


sys.modules[__name__].__class__ = _ServingPackage
