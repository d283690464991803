"""The registry of tasks: the only place that changes one. `protocol.base` is its specification."""
