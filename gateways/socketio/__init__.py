"""Socket.IO under the gateways' consumers: Engine.IO over WebSocket and long-polling."""
