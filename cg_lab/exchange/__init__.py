"""A study's questions, mixtures and proofs for other tools, and what other tools found for a study."""
