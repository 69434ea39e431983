"""The room of batch systems."""
