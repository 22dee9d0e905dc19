-- Times are Unix microseconds.

CREATE TABLE accounts (
    id           TEXT    NOT NULL PRIMARY KEY,
    username     TEXT    NOT NULL,
    email        TEXT,
    credential   TEXT    NOT NULL,
    role         TEXT    NOT NULL CHECK (role IN ('member', 'admin')),
    state        TEXT    NOT NULL CHECK (state IN ('active', 'disabled')),
    created_at   INTEGER NOT NULL,
    signed_in_at INTEGER
) STRICT, WITHOUT ROWID;

-- What a person may type to name an account. Usernames and addresses share one set of keys.
CREATE TABLE logins (
    key        TEXT NOT NULL PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    kind       TEXT NOT NULL CHECK (kind IN ('username', 'email'))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX logins_of_account ON logins (account_id, kind);

CREATE TABLE sessions (
    id                  TEXT    NOT NULL PRIMARY KEY,
    account_id          TEXT    NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    handle_hash         BLOB    NOT NULL,
    kind                TEXT    NOT NULL CHECK (kind IN ('web', 'api', 'sync', 'legacy')),
    device_name         TEXT    NOT NULL,
    created_at          INTEGER NOT NULL,
    last_used_at        INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL,
    revoked_at          INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX sessions_by_handle ON sessions (handle_hash);
CREATE INDEX sessions_of_account ON sessions (account_id, created_at, id);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- Registrations that may be repeated with their idempotency key.
CREATE TABLE registrations (
    idempotency_key TEXT    NOT NULL PRIMARY KEY,
    fingerprint     BLOB    NOT NULL,
    account_id      TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX registrations_by_time ON registrations (created_at);

-- Keys that all replicas share, made by the first of them.
CREATE TABLE shared_keys (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
