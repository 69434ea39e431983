"""The payloads of `pilot demo`: small programs that are staged in like any other input."""
