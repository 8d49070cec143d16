"""stream-al: a streaming active learner with an exact label budget.

The library: no Kafka, no HTTP, no command line. Start with :class:`stream_al.engine.Engine`.
"""

__version__ = "0.1.0"
