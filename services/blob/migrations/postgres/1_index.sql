-- What the packs hold. Everything here but `owner` and `jobs` can be rebuilt from them, and these can be lost.

CREATE TABLE packs (
    id BIGINT NOT NULL PRIMARY KEY,
    -- From the pack's header: tells it from another store's pack of the same number.
    salt BYTEA NOT NULL,
    -- The records before this offset are in the index.
    indexed_to BIGINT NOT NULL,
    -- Since when no row points into it, in Unix microseconds. Its file is on its way out and nothing of it is looked at any more.
    retired_at BIGINT,
    -- 1 once it was found to hold damaged records that are still wanted: it is kept as it is.
    quarantined BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE chunks (
    -- BLAKE3-256 of the bytes.
    hash BYTEA NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    pack BIGINT NOT NULL,
    position BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    codec BIGINT NOT NULL,
    -- 1 once the stored bytes were found wrong or missing: not to be relied on for new blobs.
    damaged BIGINT NOT NULL DEFAULT 0,
    -- Since when nothing is known to need it, in Unix microseconds. A hint: whoever deletes looks again.
    condemned_at BIGINT
);

CREATE INDEX chunks_by_pack ON chunks (pack, position);
CREATE INDEX chunks_condemned ON chunks (condemned_at) WHERE condemned_at IS NOT NULL;

CREATE TABLE blobs (
    -- UUIDv7.
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    -- BLAKE3-256 of the content; the name of its chunk when there is but one.
    digest BYTEA NOT NULL,
    -- The space that it was written for: a UUID, nil when it has none.
    space TEXT COLLATE "C" NOT NULL,
    -- Where the payload of the manifest's record stands.
    pack BIGINT NOT NULL,
    position BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    -- Since when metadata is known not to use it, in Unix microseconds.
    condemned_at BIGINT
);

CREATE INDEX blobs_by_digest ON blobs (digest);
CREATE INDEX blobs_by_pack ON blobs (pack, position);
CREATE INDEX blobs_condemned ON blobs (condemned_at) WHERE condemned_at IS NOT NULL;

-- The chunks of every blob that has more than one, and of every upload in `uploads`.
CREATE TABLE refs (
    hash BYTEA NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (hash, blob)
);

CREATE INDEX refs_by_blob ON refs (blob);

-- What runs in the background. Of several processes on one index, one runs each.
CREATE TABLE jobs (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Counts who took it over: whoever holds an older one stops.
    epoch BIGINT NOT NULL,
    -- Until then nobody else takes it over, in Unix microseconds.
    leased_until BIGINT NOT NULL,
    -- Where it goes on, in its own words; empty for the beginning.
    position TEXT NOT NULL
);

-- One row: which metadata database these blobs belong to, once it is known.
CREATE TABLE owner (
    one BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    instance TEXT NOT NULL
);

-- Uploads that can be resumed and are not finished.
CREATE TABLE uploads (
    -- That of the blob to be.
    id TEXT NOT NULL PRIMARY KEY,
    space TEXT NOT NULL,
    -- The newest writer's; the highest number there is once the upload was given up.
    epoch BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE INDEX uploads_by_space ON uploads (space);

-- What is durable of them.
CREATE TABLE segments (
    upload TEXT NOT NULL,
    -- Offset in the content.
    start BIGINT NOT NULL,
    -- Name and size of each chunk, as in a manifest.
    chunks BYTEA NOT NULL,
    -- Where the payload of the segment's record stands.
    pack BIGINT NOT NULL,
    position BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    PRIMARY KEY (upload, start)
);

CREATE INDEX segments_by_pack ON segments (pack);
