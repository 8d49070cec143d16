"""What to ask: scores, the rule, the ledger, the state that rides in the offset commit."""
