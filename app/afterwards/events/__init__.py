"""The events of tasks, for whoever listens at this worker."""
