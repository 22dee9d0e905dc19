//! What a write grant permits, and the receipt for what was written under it.

use blake3::Hash;
use bytes::Bytes;
use holdall_proto::blob::v1::{Receipt, WriteGrant, WriteResponse};
use uuid::Uuid;

use super::Rpc;
use crate::error::Error;
use crate::store::upload::Written;

/// A receipt is good for at least this long, in microseconds: an upload may have taken all the time that its grant had.
const RECEIPT_LIFETIME: i64 = 15 * 60 * 1_000_000;

impl Rpc {
    /// What a grant says, if it is good now.
    pub(super) fn open_grant(&self, sealed: &[u8]) -> Result<WriteGrant, Error> {
        Ok(self.keys.open(sealed, self.clock.now())?)
    }

    /// The answer to whoever wrote a blob under that grant. `now` is a time before the blob was there: whoever collects what
    /// is not used waits for longer than a receipt is good from then on.
    pub(super) fn receipt(&self, grant: &WriteGrant, written: &Written, now: i64) -> WriteResponse {
        let receipt = Receipt {
            blob_id: written.id.to_string(),
            size: written.size,
            digest: Bytes::copy_from_slice(written.digest.as_bytes()),
            space_id: grant.space_id.clone(),
            expires_at_us: grant.expires_at_us.max(now.saturating_add(RECEIPT_LIFETIME)),
            upload_id: grant.upload_id.clone(),
        };
        WriteResponse { receipt: self.keys.seal(&receipt), size: receipt.size, digest: receipt.digest }
    }
}

/// The space that a grant is for. Blob knows no spaces; one that is no UUID is not worth a failure.
pub(super) fn space(grant: &WriteGrant) -> Uuid {
    Uuid::try_parse(&grant.space_id).unwrap_or_default()
}

/// A digest that a client may have sent.
pub(super) fn digest(field: &'static str, bytes: &Bytes) -> Result<Option<Hash>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = <[u8; 32]>::try_from(&bytes[..])
        .map_err(|_| Error::Invalid { field, problem: "must have 32 bytes" })?;
    Ok(Some(Hash::from_bytes(bytes)))
}
