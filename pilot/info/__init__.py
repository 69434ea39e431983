"""What is known of the queue and its storages: where it is read, how it is merged, whether it may be used."""
