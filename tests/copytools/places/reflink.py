from tests.copytools.places.copy import place

__all__ = ["place"]
