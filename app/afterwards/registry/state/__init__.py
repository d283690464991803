"""The registry's state in memory, and the effect of each request on it."""
