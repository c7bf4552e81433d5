"""The machinery of the bench: standard library only, so that it runs before anything is installed. Linux only."""
