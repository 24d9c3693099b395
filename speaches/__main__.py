"""`python -m speaches`: the command line, and how the worker starts its server."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", "--fd", fd, "--parent", parent]:
            # A cold start waits for this process: it goes without the command line, whose import takes 30 ms.
            from speaches.serve import serve
            from speaches.settings import Settings

            serve(Settings(), fd=int(fd), parent=int(parent))
        case _:
            from speaches.cli import main

            main()
