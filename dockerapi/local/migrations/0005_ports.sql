-- Ports of the host that lead to containers: each is one container's at a time.
CREATE TABLE ports (
    protocol TEXT NOT NULL,
    address TEXT NOT NULL,            -- of the host; 0.0.0.0 and :: for all
    number INTEGER NOT NULL,
    sandbox TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    container_port INTEGER NOT NULL,
    PRIMARY KEY (protocol, address, number)
) STRICT;

CREATE INDEX ports_sandbox ON ports (sandbox);
