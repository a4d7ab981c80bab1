"""What an interrupted training goes on from, and what a finished one leaves."""
