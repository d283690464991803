"""Who may do what: roles, keys, and the ring of keys that a worker decides by."""
