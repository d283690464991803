"""Group commit: many requests, one synced transaction, and what is seen of it."""
