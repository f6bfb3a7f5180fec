-- The latest events, for those who ask for the past.
CREATE TABLE events (
    number INTEGER PRIMARY KEY,   -- in the order in which they were told
    time INTEGER NOT NULL,        -- nanoseconds since 1970, as all times here
    type TEXT NOT NULL,
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    attributes TEXT NOT NULL,     -- JSON
    scope TEXT NOT NULL
) STRICT;
