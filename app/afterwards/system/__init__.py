"""What the service asks of the machine it runs on: threads, files, rights, processes."""
