"""How users behave; one module a scenario."""
