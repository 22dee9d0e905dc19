//! How many connections are open, in total and by source.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections. Clones share the counts.
#[derive(Clone)]
pub(super) struct Sources(Arc<Inner>);

struct Inner {
    limit: usize,
    limit_per_source: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// The limit that a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Total,
    Source,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "max_connections",
            Self::Source => "max_connections_per_source",
        })
    }
}

/// One connection that is counted until this is dropped.
pub(super) struct Place {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    pub(super) fn new(limit: usize, limit_per_source: usize) -> Self {
        Self(Arc::new(Inner { limit, limit_per_source, counts: Mutex::default() }))
    }

    /// Counts a connection from this address, if there is room for it.
    pub(super) fn admit(&self, peer: IpAddr) -> Result<Place, Full> {
        let source = source_of(peer);
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.0.limit {
            return Err(Full::Total);
        }
        let of_source = counts.by_source.entry(source).or_default();
        if *of_source >= self.0.limit_per_source {
            return Err(Full::Source);
        }
        *of_source += 1;
        counts.total += 1;
        Ok(Place { sources: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sources.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Entry::Occupied(mut of_source) = counts.by_source.entry(self.source) {
            *of_source.get_mut() -= 1;
            if *of_source.get() == 0 {
                of_source.remove();
            }
        }
    }
}

/// What counts as one source: an IPv4 address, or an IPv6 /64, which is what one customer gets.
fn source_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_limited_by_source_and_in_total_and_come_back() {
        let sources = Sources::new(3, 2);
        let first = sources.admit(ip("192.0.2.1")).unwrap();
        let _second = sources.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(sources.admit(ip("::ffff:192.0.2.1")).err(), Some(Full::Source));
        let _other = sources.admit(ip("192.0.2.2")).unwrap();
        assert_eq!(sources.admit(ip("192.0.2.3")).err(), Some(Full::Total));
        drop(first);
        let again = sources.admit(ip("192.0.2.1"));
        assert!(again.is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let sources = Sources::new(10, 1);
        let place = sources.admit(ip("2001:db8:1:2:3::4")).unwrap();
        assert_eq!(sources.admit(ip("2001:db8:1:2:ffff::1")).err(), Some(Full::Source));
        assert!(sources.admit(ip("2001:db8:1:3::1")).is_ok());
        drop(place);
        assert!(sources.0.counts.lock().unwrap().by_source.is_empty());
    }
}
