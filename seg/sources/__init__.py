"""Raw layouts of datasets: one module a format, each gives Items to list and Records to read."""
