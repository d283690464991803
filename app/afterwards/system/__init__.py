"""The machine that the service runs on: threads, files, rights, processes."""
