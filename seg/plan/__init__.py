"""Settings that fit a data set, a machine and the time there is, chosen by rules that each give a reason."""
