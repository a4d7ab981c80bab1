"""What a source of raw data gives: Items to list, Records to read, Findings to tell, and images of any depth as 8 bit."""
