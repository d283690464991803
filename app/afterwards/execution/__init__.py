"""The attempts of a worker: it hands claims to executors, runs an attempt, reports its end."""
