"""The inside of a host: a process that only runs calls, whatever those do to it.

    python -P -m afterwards_executors.inside WIRE BOARD

`WIRE` is the descriptor of one end of a socket; `afterwards_executors.frames` says what goes over
it. `BOARD` is that of a page of memory; `afterwards_executors.board` says what is written there.
"""
