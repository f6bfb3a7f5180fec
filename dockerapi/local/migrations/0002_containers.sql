-- Containers: what was asked for, as received and as it was merged with its image, and their state.
CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,            -- the principal that made it
    generation INTEGER NOT NULL,    -- counts the changes of what was asked for
    created INTEGER NOT NULL,       -- nanoseconds since 1970, as all times here
    image TEXT NOT NULL,            -- sha256:HEX
    body BLOB NOT NULL,             -- ContainerCreate's body, as received
    config TEXT NOT NULL,           -- ContainerConfig, merged with the image's; JSON
    host_config TEXT NOT NULL,      -- HostConfig, with defaults; JSON
    status TEXT NOT NULL,
    pid INTEGER NOT NULL,           -- with start_time a name of the first process; 0 for none
    start_time INTEGER NOT NULL,    -- clock ticks since boot
    exit_code INTEGER NOT NULL,
    error TEXT NOT NULL,
    oom_killed INTEGER NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER NOT NULL
) STRICT;

CREATE INDEX containers_image ON containers (image);
