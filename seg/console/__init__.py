"""What a person sees while a program works. Nothing here changes a result, so no stage of the pipeline depends on it."""
