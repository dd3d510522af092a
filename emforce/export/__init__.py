"""Parameters of the database as files that other programs read (`emforce export`, docs/exports.md)."""
