"""The registry as a process: it is hosted by a manager, locked, watched, and reached."""
