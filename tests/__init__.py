"""The project's tests; `tests/system` needs Debian packages and real servers, the rest only the dev extra."""
