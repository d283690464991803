"""What runs in a host: a process that does nothing but run calls, whatever those do to it.

    python -P -m afterwards_executors.inside FD

`FD` is one end of a socket; `afterwards_executors.frames` says what goes over it.
"""
