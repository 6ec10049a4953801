"""From what a user has to a `Dataset`: reading, schema, splits."""
