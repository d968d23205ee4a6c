"""Judge answers by rules, and convert them to data frames with their provenance. Pure."""
