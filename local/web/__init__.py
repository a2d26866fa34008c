"""HTTP on 127.0.0.1 for pages of the embedded cloud: requests and responses, protection of browsers, the server."""
