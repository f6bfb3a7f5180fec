-- What the restart policies go by.
ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;  -- since its last start by a client
ALTER TABLE containers ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0;   -- whether a client stopped or signalled it
