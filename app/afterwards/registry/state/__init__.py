"""What the registry holds in memory, and what each request does to it."""
