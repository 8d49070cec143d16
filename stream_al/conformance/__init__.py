"""Executable contracts: public suites that a log, a model, a policy or a score must pass.

Each suite is a list of small named checks; ``check_*`` runs them all and raises ``AssertionError``
naming the first law that does not hold.
"""
