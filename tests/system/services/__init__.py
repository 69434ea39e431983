"""The real servers that the system tests talk to: one file a server, all on this machine, all ended by pid.

A service is a module of this package named in `registry.py` with

* `NEEDS`: names of the services that must run before it,
* `install(ground)`: makes what the service needs beside Debian packages (an environment, a root file system);
  true on return however often it is called,
* `start(ground)`: starts the servers in an empty run folder and returns, once they answer, the endpoint: a
  JSON-able dict of addresses, folders, credentials and the environment a client needs,
* `stop(ground)`, optional: what must be done before the processes of the service are ended.

Everything else (locks, leftovers of a killed run, retries on other ports, the order of starts and stops, the
ending of processes) is written once, in `lifecycle.py` and `process.py`. Only the standard library is used, so that
`python3.11 -m tests.system.services install` is the first thing a bare machine can run.
"""
