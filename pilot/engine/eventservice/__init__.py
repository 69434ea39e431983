"""Event service jobs: the payload channel, the ledgers, the archives and the talk with the server, for all jobs.

Threads, beside those of `pilot.engine`, started with the first event service job and constant from then on:

| thread         | what it does                                            | what it never does               |
|----------------|---------------------------------------------------------|----------------------------------|
| events         | hears workers, keeps the ledgers, writes their tables   | waits for a server or a storage  |
| event-work-N   | asks for ranges, tells of them, packs and stores outputs | touches a ledger or the PilotDB  |

`event-work-N` are three. The main thread and `events` talk through each other's inbox.
"""
