"""Tests against the real servers of a grid site, started by `tests.system.services` on this machine."""
