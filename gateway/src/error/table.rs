//! The codes of the native API, each with its status, title and advice.

use std::time::Duration;

use http::StatusCode;

/// What the table says about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The code as clients see it: lower-case words joined by `_`. Never changes.
    pub name: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// What happened, in a few words that are the same each time.
    pub title: &'static str,
    /// What happened and what to do, in a sentence.
    pub detail: &'static str,
    /// Whether the very same request may succeed later, and does no harm when repeated with the same
    /// `Idempotency-Key`.
    pub retryable: bool,
    /// When to come back, unless the service said so itself.
    pub retry_after: Option<Duration>,
}

macro_rules! codes {
    ($($code:ident $name:literal $status:ident $(retry $after:literal)? $title:literal, $detail:literal;)*) => {
        /// Why a request failed, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $code,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// What the table says about this code.
            pub const fn entry(self) -> Entry {
                match self {
                    $(Self::$code => entry($name, StatusCode::$status, $title, $detail, &[$($after)?]),)*
                }
            }
        }
    };
}

/// `retry` is empty, or holds the seconds after which to come back; zero needs no `Retry-After`.
const fn entry(
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    retry: &[u64],
) -> Entry {
    let (retryable, retry_after) = match retry {
        [] => (false, None),
        [0, ..] => (true, None),
        [seconds, ..] => (true, Some(Duration::from_secs(*seconds))),
    };
    Entry { name, status, title, detail, retryable, retry_after }
}

// `retry N` marks what may be repeated as it is, after N seconds.
codes! {
    MalformedJson "malformed_json" BAD_REQUEST
        "Malformed JSON", "The body of the request is not valid JSON.";
    MalformedForm "malformed_form" BAD_REQUEST
        "Malformed form", "The body of the request is not a complete form.";
    InvalidEncoding "invalid_encoding" BAD_REQUEST
        "Invalid encoding", "Text in the URL or the body is not valid UTF-8.";
    InvalidHeader "invalid_header" BAD_REQUEST
        "Invalid header", "A header of the request does not follow its grammar.";
    InvalidHost "invalid_host" BAD_REQUEST
        "Invalid host", "The request needs exactly one valid Host header.";
    InvalidCursor "invalid_cursor" BAD_REQUEST
        "Invalid cursor", "The cursor was not given out for this list; start again without one.";
    TruncatedBody "truncated_body" BAD_REQUEST
        "Incomplete body", "Fewer bytes arrived than were announced; nothing was stored.";
    DigestMismatch "digest_mismatch" BAD_REQUEST
        "Digest mismatch", "The bytes that arrived have another digest than was announced; nothing was stored.";
    Unauthenticated "unauthenticated" UNAUTHORIZED
        "Not signed in", "Send the token of a live session as `Authorization: Bearer`.";
    WrongCredentials "wrong_credentials" UNAUTHORIZED
        "Wrong credentials", "Name and password do not belong together.";
    Forbidden "forbidden" FORBIDDEN
        "Not allowed", "This account may not do that.";
    RegistrationClosed "registration_closed" FORBIDDEN
        "Registration is closed", "Accounts cannot be registered on this installation.";
    NotFound "not_found" NOT_FOUND
        "Not found", "There is no such thing here.";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED
        "Method not allowed", "This URL does not know that method; Allow lists those it knows.";
    Timeout "timeout" REQUEST_TIMEOUT retry 0
        "Request timeout", "The body of the request came too slowly.";
    NameConflict "name_conflict" CONFLICT
        "Name in use", "The folder already holds something with this name.";
    UsernameTaken "username_taken" CONFLICT
        "Username in use", "Another account has this username.";
    EmailTaken "email_taken" CONFLICT
        "E-mail address in use", "Another account has this e-mail address.";
    WouldCycle "would_cycle" CONFLICT
        "Folder inside itself", "A folder cannot be moved into itself or into what it holds.";
    NotAFolder "not_a_folder" CONFLICT
        "Not a folder", "This works with folders only, and there is a file.";
    NotAFile "not_a_file" CONFLICT
        "Not a file", "This works with files only, and there is a folder.";
    RootImmutable "root_immutable" CONFLICT
        "The root stays", "The root of a space cannot be moved, renamed or deleted.";
    NotTrashed "not_trashed" CONFLICT
        "Not in the trash", "This works only with what is in the trash.";
    CursorExpired "cursor_expired" GONE
        "Cursor expired", "The server was restored from a backup since; read everything anew, and start again without a cursor.";
    UploadExpired "upload_expired" CONFLICT
        "Permission expired", "The transfer took longer than its permission lasts; start it again.";
    PreconditionFailed "precondition_failed" PRECONDITION_FAILED
        "Precondition failed", "It has changed since it was read; read it again and decide anew.";
    TooLarge "too_large" PAYLOAD_TOO_LARGE
        "Too large", "The body of the request is larger than is allowed here.";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE
        "Unsupported media type", "The body is of a type, or in an encoding, that is not taken here.";
    RangeNotSatisfiable "range_not_satisfiable" RANGE_NOT_SATISFIABLE
        "Range not satisfiable", "The content has no bytes in that range.";
    ExpectationFailed "expectation_failed" EXPECTATION_FAILED
        "Expectation failed", "The only expectation that is met here is 100-continue.";
    InvalidName "invalid_name" UNPROCESSABLE_ENTITY
        "Invalid name", "A name is empty, longer than 255 bytes, `.` or `..`, or holds a character that no name may hold.";
    InvalidPath "invalid_path" UNPROCESSABLE_ENTITY
        "Invalid path", "A path is too long or too deep, or one of its names is invalid.";
    InvalidAccount "invalid_account" UNPROCESSABLE_ENTITY
        "Invalid account data", "The username, e-mail address or password does not meet the rules.";
    InvalidField "invalid_field" UNPROCESSABLE_ENTITY
        "Invalid field", "A field of the request is missing, unknown or malformed.";
    IdempotencyMismatch "idempotency_mismatch" UNPROCESSABLE_ENTITY
        "Idempotency key in use", "The Idempotency-Key was used with another request; use a new one for each.";
    RateLimited "rate_limited" TOO_MANY_REQUESTS retry 60
        "Too many attempts", "Come back after the time in Retry-After.";
    Internal "internal" INTERNAL_SERVER_ERROR
        "Internal error", "A defect on our side. The log has the details under the request_id.";
    OutcomeUnknown "outcome_unknown" INTERNAL_SERVER_ERROR retry 0
        "Outcome unknown", "It may or may not have happened; repeat it with the same Idempotency-Key, or look.";
    Corrupt "corrupt" INTERNAL_SERVER_ERROR
        "Stored content is damaged", "The stored bytes do not match their digest and are not sent.";
    BadGateway "bad_gateway" BAD_GATEWAY
        "Bad answer from a service", "One of the services behind this one gave an answer that makes no sense.";
    Overloaded "overloaded" SERVICE_UNAVAILABLE retry 1
        "Overloaded", "More work than is taken on at once; nothing was done.";
    Unavailable "unavailable" SERVICE_UNAVAILABLE retry 2
        "Unavailable", "A part of the system cannot be reached; try again.";
    QuotaExceeded "quota_exceeded" INSUFFICIENT_STORAGE
        "Quota exceeded", "The space has no room for this; delete something, and empty the trash.";
    StorageFull "storage_full" INSUFFICIENT_STORAGE
        "Storage is full", "The server has no room left; reading and deleting go on.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_words() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.entry().name).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }

    #[test]
    fn every_code_is_an_error_with_advice() {
        for entry in Code::ALL.iter().map(|code| code.entry()) {
            assert!(entry.status.is_client_error() || entry.status.is_server_error(), "{}", entry.name);
            assert!(entry.detail.ends_with('.') && !entry.title.ends_with('.'), "{}", entry.name);
            assert!(entry.retry_after.is_none() || entry.retryable, "{}", entry.name);
        }
    }

    #[test]
    fn retries_are_told_apart() {
        assert!(Code::Timeout.entry().retryable && Code::Timeout.entry().retry_after.is_none());
        assert_eq!(Code::Overloaded.entry().retry_after, Some(Duration::from_secs(1)));
        assert!(!Code::NameConflict.entry().retryable);
    }
}
