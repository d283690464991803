"""Hosts: child processes that run calls, as the process that they work for sees them.

executor --> host --pipe--> `afterwards_executors.inside`, in a process of its own
   |          |
   |          `-- starter: a lasting thread that starts and ends such processes
   `-- which host runs which call, and what becomes of the calls of a host that ends
"""
