"""A trained model as a service: HTTP in front of the code of `seg predict`."""
