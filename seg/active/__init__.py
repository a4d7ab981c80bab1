"""Which of many unlabelled images are most worth labelling."""
