"""Tests that share a service, which has tasks of every state. They leave those as they are."""
