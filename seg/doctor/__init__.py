"""doctor.html: what the checks found, with pictures."""
