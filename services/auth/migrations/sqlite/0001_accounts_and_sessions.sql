-- Times are Unix microseconds.

CREATE TABLE accounts (
    id                 TEXT    NOT NULL PRIMARY KEY,
    number             INTEGER NOT NULL UNIQUE,
    username           TEXT    NOT NULL,
    email              TEXT,
    -- Empty for system accounts, which matches no password.
    credential         TEXT    NOT NULL,
    -- The crypt string that the account was given, where it was; credential is the same until the first sign-in.
    imported           TEXT,
    role               TEXT    NOT NULL CHECK (role IN ('member', 'admin', 'system')),
    state              TEXT    NOT NULL CHECK (state IN ('active', 'disabled')),
    external_reference TEXT    NOT NULL,
    created_at         INTEGER NOT NULL,
    signed_in_at       INTEGER
) STRICT, WITHOUT ROWID;

-- System accounts have no login: this alone keeps their names apart.
CREATE UNIQUE INDEX system_accounts ON accounts (username) WHERE role = 'system';

-- The last number that was given out.
CREATE TABLE counters (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('accounts', 0);

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
    revoked_at          INTEGER,
    reusable            INTEGER NOT NULL CHECK (reusable IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX sessions_by_handle ON sessions (handle_hash);
CREATE INDEX sessions_of_account ON sessions (account_id, revoked_at, created_at, id);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- Registrations that may be repeated with their idempotency key.
CREATE TABLE registrations (
    idempotency_key TEXT    NOT NULL PRIMARY KEY,
    fingerprint     BLOB    NOT NULL,
    account_id      TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX registrations_by_time ON registrations (created_at);
CREATE INDEX registrations_of_account ON registrations (account_id);

-- Keys that all replicas share, made by the first of them.
CREATE TABLE shared_keys (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
