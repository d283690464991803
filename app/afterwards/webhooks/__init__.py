"""Webhooks: notices to other services of tasks that have finished."""
