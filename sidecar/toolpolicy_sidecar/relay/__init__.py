"""Who carries a request to its server and the answer back, one module per kind of conversation."""
