"""The processes around the library: command line, service, HTTP, Kafka."""
