"""The command line: all that parses arguments or prints."""
