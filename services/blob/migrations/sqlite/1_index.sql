-- What the packs hold. Everything here can be rebuilt from them.

CREATE TABLE packs (
    id BIGINT NOT NULL PRIMARY KEY,
    -- From the pack's header: tells it from another store's pack of the same number.
    salt BLOB NOT NULL,
    -- The records before this offset are in the index.
    indexed_to BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE chunks (
    -- BLAKE3-256 of the bytes.
    hash BLOB NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    pack BIGINT NOT NULL,
    position BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    codec BIGINT NOT NULL,
    -- 1 once the stored bytes were found wrong or missing: not to be relied on for new blobs.
    damaged BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE blobs (
    -- UUIDv7.
    id TEXT NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    -- BLAKE3-256 of the content; the name of its chunk when there is but one.
    digest BLOB NOT NULL,
    -- Where the payload of the manifest's record stands.
    pack BIGINT NOT NULL,
    position BIGINT NOT NULL,
    stored BIGINT NOT NULL
) WITHOUT ROWID;

-- Uploads that can be resumed and are not finished.
CREATE TABLE uploads (
    -- That of the blob to be.
    id TEXT NOT NULL PRIMARY KEY,
    space TEXT NOT NULL,
    -- The newest writer's; the highest number there is once the upload was given up.
    epoch BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
) WITHOUT ROWID;

CREATE INDEX uploads_by_space ON uploads (space);

-- What is durable of them.
CREATE TABLE segments (
    upload TEXT NOT NULL,
    -- Offset in the content.
    start BIGINT NOT NULL,
    -- Name and size of each chunk, as in a manifest.
    chunks BLOB NOT NULL,
    -- Where the payload of the segment's record stands.
    pack BIGINT NOT NULL,
    position BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    PRIMARY KEY (upload, start)
) WITHOUT ROWID;
