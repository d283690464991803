"""The events of tasks, for the listeners of this worker."""
