"""What must hold through kills of parts of a running application."""
