"""What helps a person while a program works: progress, speed, advice. Nothing here changes a result, and no stage depends on it."""
