//! The rules: what a name, a tree, a quota and a permission are. No database and no wire format in here.

pub mod authorize;
pub mod buffer;
pub mod change;
pub mod error;
pub mod id;
pub mod idempotency;
pub mod link;
pub mod name;
pub mod node;
pub mod path;
pub mod policy;
pub mod precondition;
pub mod sibling;
pub mod slug;
pub mod space;
pub mod upload;
pub mod version;
