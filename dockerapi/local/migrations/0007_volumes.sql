-- Volumes, and what each container has mounted: which volumes are in use follows from it.
CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    driver TEXT NOT NULL,
    created INTEGER NOT NULL,     -- nanoseconds since 1970, as all times here
    labels TEXT,                  -- JSON; NULL where none were given
    options TEXT                  -- JSON; NULL where none were given
) STRICT;

CREATE TABLE container_mounts (
    container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,    -- parents before what is mounted inside them
    volume TEXT REFERENCES volumes (name),
    mount TEXT NOT NULL,          -- JSON
    PRIMARY KEY (container, position)
) STRICT;

CREATE INDEX container_mounts_volume ON container_mounts (volume);
