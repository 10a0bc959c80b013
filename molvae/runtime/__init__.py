"""What the other packages run on: device, random numbers, worker processes, files; no chemistry."""
