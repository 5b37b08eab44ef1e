"""From tasks to scores: `evaluate` is where to start reading."""
