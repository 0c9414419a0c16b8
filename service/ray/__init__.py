"""Ray: the service as replicas on Ray Serve, and bulk jobs on Ray Data."""
