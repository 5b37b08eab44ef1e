"""What every room stands on: types, errors, registry, settings, which model is meant, processes."""
