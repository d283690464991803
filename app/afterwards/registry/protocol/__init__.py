"""What workers and a registry say to each other; `base` has the rules of it."""
