"""The SQLite file of all tasks: its versions, and what a group of changes writes into it."""
