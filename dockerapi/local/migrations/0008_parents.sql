-- The image that an image was made of by a commit: sha256:HEX, empty for none. It may be gone.
ALTER TABLE images ADD COLUMN parent TEXT NOT NULL DEFAULT '';
