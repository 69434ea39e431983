"""The embedded job server: a small but honest PanDA server for demonstrations, tests and small sites.

It speaks both dialects (classic `/server/panda/<method>` and `/api/v1/<module>/<method>`), is as strict about names
and types as the real one, and keeps everything in one sqlite file, so that jobs survive its restart.

Two threads. The main thread runs the event loop: it parses requests, checks types and who calls, encodes answers and
never touches the database. The thread `store` owns the only connection to the database; it takes the calls that
wait, does them in one transaction and answers all of them after the commit. An answer is thus an acknowledgement.

Nothing here is shared with the client side of the program: both were written from the protocol's description, so that
a mistake in one of them shows.
"""
