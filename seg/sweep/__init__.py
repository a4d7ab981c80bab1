"""A search for settings: what may vary, the trials of it as processes of their own, and what is written of the best one."""
