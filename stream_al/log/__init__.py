"""The seam between the engine and the world: one protocol, several logs."""
