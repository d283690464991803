"""The registry of tasks: the only place that changes one.

    protocol    what workers and a registry say to each other; `base` is its specification
    journal     the SQLite file
    state       what the registry holds in memory, and what each request does to it
    engine      group commit, and what is seen of it
    process     the process that hosts it
    client      a worker's side of it; knows the protocol alone

A room imports only from rooms that are listed before it.
"""
