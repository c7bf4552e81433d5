"""The command line: argparse and plain text; it uses public names only, as any other program does."""
