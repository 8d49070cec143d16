"""The pipeline on a real Kafka, on one machine, without Docker: two replicas, one of which is killed."""
