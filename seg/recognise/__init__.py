"""What format a folder of labelled images has, and the configuration that reads it."""
