"""How often the diagnosis is right: labelled situations, diagnosed as recordings are, and scored with intervals."""
