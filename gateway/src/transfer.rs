//! Content over HTTP: how the native API, the pages and every other dialect receive and send files.
//!
//! Upwards, the body of a request becomes pieces for [`ops::content`](crate::ops::content); downwards, verified content
//! becomes an answer with ranges, conditions and the headers that keep a stranger's file from running on our origin.
//! Bytes are handed on as they come, never gathered, so memory does not depend on their number.

pub mod body;
pub mod conditional;
pub mod disposition;
pub mod download;
pub mod etag;
pub mod fields;
pub mod media_type;
pub mod multipart;
pub mod range;
pub mod upload;
