"""The subcommands of the command line, a file per task; nothing is computed here."""
