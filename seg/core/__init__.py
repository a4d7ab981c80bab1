"""What everything else stands on: errors, the machine, files that are written whole."""
