"""An example of one's own task types: fetch a CSV file over HTTP and summarise it."""
