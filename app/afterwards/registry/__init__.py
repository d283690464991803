"""The registry of tasks: the only place that changes one. `base` is its specification."""
