"""The ports in memory, with the semantics of AWS that the engine's laws rely on."""
