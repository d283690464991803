"""A worker's side of the registry: what it sends, what it is sent, what it follows."""
