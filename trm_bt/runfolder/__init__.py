"""The run folder: names, records and tables; one schema writes it and reads it."""
