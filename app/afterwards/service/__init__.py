"""The verbs behind the routes: what HTTP, or anything else in front, asks of the service."""
