-- Networks, the sandbox (network namespace) of each container, and its endpoints on networks.
CREATE TABLE networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    driver TEXT NOT NULL,
    created INTEGER NOT NULL,  -- nanoseconds since 1970
    subnet TEXT,               -- CIDR; NULL where addresses are not managed
    gateway TEXT
) STRICT;

CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    container TEXT NOT NULL UNIQUE,
    namespace TEXT UNIQUE      -- file name of its pin; NULL for the host's namespace
) STRICT;

CREATE TABLE endpoints (
    id TEXT PRIMARY KEY,
    sandbox TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    network TEXT NOT NULL REFERENCES networks (id),
    name TEXT NOT NULL,        -- the container's name when it was connected
    interface TEXT UNIQUE,     -- the link on the host's side
    mac TEXT,
    address TEXT,
    UNIQUE (network, address)
) STRICT;

CREATE INDEX endpoints_sandbox ON endpoints (sandbox);
