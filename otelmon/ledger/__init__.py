"""The instance's shared memory."""
