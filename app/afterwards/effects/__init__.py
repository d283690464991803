"""The ways in which built-in task types reach the outside: their settings, and their clients."""
