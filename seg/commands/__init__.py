"""The command line as data: every command, its arguments and options; one parser and one help for all of them."""
