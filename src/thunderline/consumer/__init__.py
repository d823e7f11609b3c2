"""Who uses a model: watch, fetch, verify, hot-reload, report. Runs far from the database."""
