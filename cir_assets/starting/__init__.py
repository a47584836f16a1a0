"""From nothing to a project of one's own: what ``cir-assets new`` writes, and which project a command is run in."""
