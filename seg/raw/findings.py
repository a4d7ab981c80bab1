"""Where people's own sources import `Finding` from that were written for an earlier version."""

from seg.raw.record import Finding as Finding
