"""The deployment: checked as files by `make test`, and run by `make deploy-test`."""
