"""`make bench`: how fast the service is, beside a FastAPI route that does nothing.

    sizes -> bench (servers, rounds) -> measurements, a table of them -> rows -> report

Another checkout of the service can be measured in turn with this one (`beside`).

Every measurement checks itself: answers, counts and syncs have to be what was asked for, or the
run ends with an error instead of a figure.
"""
