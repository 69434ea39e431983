"""Empty stand-ins for packages which the `panda-server` package imports and the pilot's calls never reach."""

from __future__ import annotations

import importlib.machinery
import sys
import types


class Nothing(type):
    """Classes of which every attribute is a function that does nothing."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **more: None


class Hollow(types.ModuleType):
    """A module in which every name is an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = Nothing(name, (), {"__init__": lambda self, *args, **more: None, "__class_getitem__": lambda item: item})
        setattr(self, name, made)
        return made


class Stubs:
    """Finds, as the last one asked, a hollow module for every package that the server itself imports in vain."""

    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        asked_by = frame.f_globals.get("__name__", "").partition(".")[0]
        ours = ("pandaserver", "pandacommon")
        # `Queue` is asked for in vain on purpose: it is the old name of a standard module.
        if asked_by not in ours or name.partition(".")[0] in (*ours, *sys.stdlib_module_names, "Queue"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return Hollow(spec.name)

    def exec_module(self, module):
        pass
