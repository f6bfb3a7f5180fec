"""HTTP/1.1 on llhttp: channel, request, streamed body, hijack."""
