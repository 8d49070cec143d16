"""Online models behind one protocol."""
