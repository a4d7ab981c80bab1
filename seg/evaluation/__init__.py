"""What only the evaluation computes: figures, their causes and their certainty."""
