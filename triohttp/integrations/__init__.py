"""What connects triohttp with other software: one optional dependency a file, each with an extra of its name."""
