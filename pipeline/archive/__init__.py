"""The log's older part, as sealed Parquet segments in a directory or an object store."""
