//! The client's network address, in messages that have a field for it.
//!
//! Limits count by it, so it must be what the gateway saw, whatever the client wrote. The last value of a field is the one
//! that counts (protobuf, "Last One Wins"), so the address is put behind the message. It has to be a whole one for that: a
//! field that is cut off would take in what comes after it.

use bytes::{Bytes, BytesMut};
use prost::Message;
use tonic::Status;

use super::answer::unreadable;

/// The wire type of text.
const LENGTH_DELIMITED: usize = 2;

/// A message with the address in that field.
///
/// # Errors
/// When it is no whole message.
pub fn put(message: &[u8], field: u32, address: &str) -> Result<Bytes, Status> {
    // Reads every field as an unknown one: what has an end is a whole message.
    <()>::decode(message).map_err(|_| unreadable())?;
    let key = usize::try_from(field).unwrap_or_default() << 3 | LENGTH_DELIMITED;
    let mut with = BytesMut::from(message);
    for number in [key, address.len()] {
        prost::encode_length_delimiter(number, &mut with).map_err(|_| unreadable())?;
    }
    with.extend_from_slice(address.as_bytes());
    Ok(with.freeze())
}

#[cfg(test)]
mod tests {
    use holdall_proto::auth::v1::RegisterRequest;
    use tonic::Code;

    use super::*;

    fn read(message: &[u8]) -> Result<RegisterRequest, Code> {
        let message = put(message, 5, "192.0.2.7").map_err(|status| status.code())?;
        Ok(RegisterRequest::decode(message).unwrap())
    }

    #[test]
    fn what_the_client_says_of_itself_does_not_count() {
        let asked = RegisterRequest {
            username: "alice".to_owned(),
            client_address: "127.0.0.1".to_owned(),
            external_reference: "x".to_owned(),
            ..RegisterRequest::default()
        };
        let unknown = put(&asked.encode_to_vec(), 5, "");
        let seen = read(&asked.encode_to_vec()).unwrap();
        assert_eq!(seen, RegisterRequest { client_address: "192.0.2.7".to_owned(), ..asked });
        assert_eq!(read(&[]).unwrap().client_address, "192.0.2.7");
        assert_eq!(RegisterRequest::decode(unknown.unwrap()).unwrap().client_address, "");
    }

    #[test]
    fn nothing_swallows_the_address() {
        let spoofed =
            RegisterRequest { client_address: "127.0.0.1".to_owned(), ..Default::default() }.encode_to_vec();
        for tail in [
            // An unknown field of 11 bytes: as many as are put behind it.
            &[15 << 3 | 2, 11][..],
            &[15 << 3 | 2],
            &[15 << 3],
            &[15 << 3 | 1],
            &[15 << 3 | 5, 0],
            // The start of a group.
            &[15 << 3 | 3],
            &[15 << 3 | 4],
            &[0xff],
            &[0],
        ] {
            assert_eq!(read(&[&spoofed, tail].concat()), Err(Code::InvalidArgument), "{tail:?}");
        }
    }
}
