"""The dashboard's pages: files for a browser, which draws them from what the HTTP API says.

`assets` has the files, `shell` the one document that loads them. Nothing here knows of tasks.
"""
