"""The REST edge: routes, identity, problems; it mounts the WebSocket routes. `python -m api`."""
