-- Ids are UUIDs as text, times Unix microseconds, sizes bytes. PostgreSQL's schema is the same but for types.

CREATE TABLE spaces (
    space_id        TEXT   NOT NULL PRIMARY KEY,
    owner_id        TEXT   NOT NULL UNIQUE,
    root_id         TEXT   NOT NULL,
    quota_bytes     INTEGER NOT NULL CHECK (quota_bytes >= 0),
    used_bytes      INTEGER NOT NULL DEFAULT 0 CHECK (used_bytes >= 0),
    reserved_bytes  INTEGER NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
    -- Number of the latest change. The row is locked by every change of the space, so numbers follow commits.
    change_sequence INTEGER NOT NULL DEFAULT 0,
    -- Another random number after each change that answers given before do not show.
    moment          INTEGER NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    node_id     TEXT   NOT NULL PRIMARY KEY,
    space_id    TEXT   NOT NULL REFERENCES spaces,
    -- NULL for the root of a space and nothing else.
    parent_id   TEXT   REFERENCES nodes,
    name        TEXT   NOT NULL,
    -- 1 folder, 2 file.
    kind        INTEGER NOT NULL CHECK (kind IN (1, 2)),
    -- Number of the latest change to this row.
    revision    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    -- Set on what was put into the trash by itself, not on what is below it.
    trashed_at  INTEGER,
    -- The current version of a file.
    version_id  TEXT,
    -- From then on a file is gone; NULL for never.
    expires_at  INTEGER,
    -- What a folder does with its files: time to live, most files, most versions, 1 where deleting is for good; with blanks
    -- between, and 0 for what is not so. NULL for nothing special. One text, because every look-up reads it.
    policy      TEXT,
    CHECK ((kind = 2) = (version_id IS NOT NULL)),
    CHECK ((parent_id IS NULL) = (name = '')),
    CHECK (kind = 2 OR expires_at IS NULL),
    CHECK (kind = 1 OR policy IS NULL)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX nodes_by_name ON nodes (parent_id, name) WHERE trashed_at IS NULL;
CREATE INDEX nodes_named ON nodes (space_id, name, node_id) WHERE trashed_at IS NULL;
-- Not partial: it also finds the children of what is deleted.
CREATE INDEX nodes_by_time ON nodes (parent_id, modified_at, node_id);
CREATE INDEX nodes_trashed ON nodes (space_id, trashed_at, node_id) WHERE trashed_at IS NOT NULL;
CREATE INDEX nodes_trashed_by_time ON nodes (trashed_at) WHERE trashed_at IS NOT NULL;
CREATE INDEX nodes_by_expiry ON nodes (expires_at, node_id) WHERE expires_at IS NOT NULL;

CREATE TABLE versions (
    version_id TEXT   NOT NULL PRIMARY KEY,
    node_id    TEXT   NOT NULL REFERENCES nodes,
    -- The change that brought it: versions of a file are ordered by this, not by clocks.
    sequence   INTEGER NOT NULL,
    blob_id    TEXT   NOT NULL,
    size       INTEGER NOT NULL CHECK (size >= 0),
    -- BLAKE3-256, in hexadecimal.
    digest     TEXT   NOT NULL,
    media_type TEXT   NOT NULL,
    author_id  TEXT   NOT NULL,
    device     TEXT   NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX versions_by_node ON versions (node_id, sequence);
CREATE INDEX versions_by_blob ON versions (blob_id);

CREATE TABLE changes (
    space_id   TEXT   NOT NULL REFERENCES spaces,
    sequence   INTEGER NOT NULL,
    -- 1 created, 2 content, 3 moved, 4 trashed, 5 restored, 6 purged, 7 policy.
    kind       INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 7),
    -- No reference: the log outlives the node.
    node_id    TEXT   NOT NULL,
    version_id TEXT,
    device     TEXT   NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (space_id, sequence)
) STRICT, WITHOUT ROWID;

-- Room set aside for uploads under way.
CREATE TABLE uploads (
    upload_id  TEXT   NOT NULL PRIMARY KEY,
    space_id   TEXT   NOT NULL REFERENCES spaces,
    size       INTEGER NOT NULL CHECK (size >= 0),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX uploads_by_expiry ON uploads (expires_at, space_id);

CREATE TABLE links (
    link_id       TEXT   NOT NULL PRIMARY KEY,
    slug          TEXT   NOT NULL UNIQUE,
    -- 1 short, 2 code, 3 hexadecimal, 4 token, 5 UUID.
    form          INTEGER NOT NULL CHECK (form BETWEEN 1 AND 5),
    space_id      TEXT   NOT NULL REFERENCES spaces,
    node_id       TEXT   NOT NULL REFERENCES nodes,
    created_at    INTEGER NOT NULL,
    -- NULL for never.
    expires_at    INTEGER,
    revision      INTEGER NOT NULL,
    -- Empty for the file's own.
    file_name     TEXT   NOT NULL,
    -- 0 for any number; downloads are counted only where there is a limit.
    max_downloads INTEGER NOT NULL CHECK (max_downloads >= 0),
    downloads     INTEGER NOT NULL DEFAULT 0 CHECK (downloads >= 0),
    -- Who has it can delete the file.
    delete_key    TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX links_by_space ON links (space_id, created_at, link_id);
CREATE INDEX links_by_node ON links (node_id, created_at, link_id);
CREATE INDEX links_by_expiry ON links (form, expires_at) WHERE expires_at IS NOT NULL;

-- Text and files on their way from one device to another.
CREATE TABLE buffer_entries (
    entry_id   TEXT   NOT NULL PRIMARY KEY,
    space_id   TEXT   NOT NULL REFERENCES spaces,
    -- Orders the entries of a space.
    sequence   INTEGER NOT NULL,
    -- 1 text, 2 file.
    kind       INTEGER NOT NULL CHECK (kind IN (1, 2)),
    -- Empty for text.
    name       TEXT   NOT NULL,
    blob_id    TEXT   NOT NULL,
    size       INTEGER NOT NULL CHECK (size >= 0),
    -- BLAKE3-256, in hexadecimal.
    digest     TEXT   NOT NULL,
    media_type TEXT   NOT NULL,
    device     TEXT   NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX buffer_entries_by_space ON buffer_entries (space_id, sequence);
CREATE INDEX buffer_entries_by_expiry ON buffer_entries (expires_at, space_id);
CREATE INDEX buffer_entries_by_blob ON buffer_entries (blob_id);

-- Answers to requests that may be repeated.
CREATE TABLE answers (
    account_id  TEXT   NOT NULL,
    key         TEXT   NOT NULL,
    -- BLAKE3-256 of the request.
    fingerprint BLOB   NOT NULL,
    -- JSON.
    answer      TEXT   NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX answers_by_time ON answers (created_at);

-- Blobs that lost a version or buffer entry. A hint for the collection of garbage: another may still have the blob.
CREATE TABLE released_blobs (
    blob_id     TEXT   NOT NULL PRIMARY KEY,
    released_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX released_blobs_by_time ON released_blobs (released_at);

-- One row.
CREATE TABLE instance (
    -- The name of this database, by which blob knows that it asks the right one.
    instance_id TEXT   NOT NULL PRIMARY KEY,
    -- Another one once a backup was restored: change numbers of before mean nothing any more.
    feed_epoch  TEXT   NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO instance (instance_id, feed_epoch) VALUES (lower(hex(randomblob(16))), lower(hex(randomblob(8))));
