"""A pilot job agent: takes jobs from a job server, brings their data, runs and watches them, and reports."""

__version__ = "0.1.0"
