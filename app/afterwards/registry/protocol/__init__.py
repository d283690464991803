"""The protocol between workers and a registry; `base` has its rules."""
