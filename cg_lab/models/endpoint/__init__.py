"""Ask a model that a server has: requests and their forms, a patient client, answers that are kept by content."""
