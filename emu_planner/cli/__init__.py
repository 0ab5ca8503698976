"""The command line: where the rooms meet. Each subcommand is a module of its own."""
