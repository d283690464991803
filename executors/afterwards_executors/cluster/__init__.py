"""Calls on a Dask cluster: each runs in a host of ours, on whichever worker Dask gives it to.

    executor --pipe--> host, the Dask client --> Dask's scheduler --> station, on a Dask worker
                                                    with a relay         |
                                                                         `-- hosts, as at home

The executor is in the process that submits, and imports nothing of Dask's. The host unpickles what
Dask's client unpickles. The scheduler gives each call to a worker; what the two ends say to each
other meanwhile goes by the relay, a plugin of the scheduler. The station, a plugin of each worker,
runs calls as the executor of kind `process` does.
"""
