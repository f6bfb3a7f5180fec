-- Images, the layers and blobs that they need, and the names by which users know them.
CREATE TABLE images (
    id TEXT PRIMARY KEY,          -- sha256:HEX of the configuration
    config BLOB NOT NULL,         -- OCI image configuration, byte for byte
    size INTEGER NOT NULL,        -- bytes of all files in all layers
    arrived INTEGER NOT NULL,     -- nanoseconds since 1970, as all times here
    tagged INTEGER NOT NULL       -- when a name was last given; 0 for never
) STRICT;

CREATE TABLE layers (
    chain_id TEXT PRIMARY KEY,    -- sha256:HEX, OCI's ChainID of the layer with all below it
    diff_id TEXT NOT NULL,        -- sha256:HEX of the uncompressed archive
    size INTEGER NOT NULL         -- bytes of the files in it
) STRICT;

CREATE TABLE image_layers (
    image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,    -- 0 is the lowest
    chain_id TEXT NOT NULL REFERENCES layers (chain_id),
    PRIMARY KEY (image, position)
) STRICT;

CREATE INDEX image_layers_chain ON image_layers (chain_id);

-- Manifests and layers as they came, files below images/blobs.
CREATE TABLE image_blobs (
    image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (image, digest)
) STRICT;

CREATE INDEX image_blobs_digest ON image_blobs (digest);

-- Names in full form: docker.io/library/busybox:latest, or with @sha256:HEX of a manifest.
CREATE TABLE image_references (
    name TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images (id)
) STRICT;
