"""The registry in PostgreSQL, without a process of its own: an exchange is one transaction."""
