"""Roles, keys, and the ring of keys by which a worker decides who may do what."""
