"""From a checkpoint to a file that needs neither the checkpoint nor this program."""
