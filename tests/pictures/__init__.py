"""The pictures of the dashboard in README and docs, made by `make screenshots`."""
