"""How clients meet the exchange: WebSocket API, REST, streams in JSON and SBE."""
