"""Requests that the service makes itself, and the guard before the places they must not go."""
