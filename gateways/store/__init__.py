"""Everything that is kept in Redis/Valkey, and the only code that speaks to it."""
