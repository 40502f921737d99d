"""Rows and media of public data sets: parquet, JSON, zip, folders, the Hub."""
