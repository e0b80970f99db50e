"""What worker processes and their launcher tell each other."""
