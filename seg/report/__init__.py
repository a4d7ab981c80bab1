"""What an evaluation leaves for people and for DVC: figures, tables, pictures."""
