"""A file per schema version. What is here is never edited: it describes files that exist."""
