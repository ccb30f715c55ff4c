"""The nouns everybody shares: frozen values and pure functions, standard library only."""
