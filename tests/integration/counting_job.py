"""A tiny job: shows a file, greets whoever is typed, and ends with the status that it is told."""

import os
import sys

status, *paths = sys.argv[1:] or ["0"]
for path in paths:
    with open(path) as file:
        print(f"{path}: {file.read().strip()}", flush=True)
print("name?", flush=True)
print(f"hello {sys.stdin.readline().strip() or 'nobody'}", flush=True)
print(f"disks {sorted(name for name in os.listdir('/dev') if name.startswith('vd'))}", flush=True)
sys.exit(int(status))
