"""What is wrong with a data set, or odd: facts of each image, and pure checks on them that give Findings."""
