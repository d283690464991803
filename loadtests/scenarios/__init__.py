"""The scenarios of users, one module each."""
