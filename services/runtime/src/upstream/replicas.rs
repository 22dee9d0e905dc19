//! The replicas of a service: found by name, looked up again and again, and left alone while they cannot be reached.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{Notify, watch};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Uri};

use super::{CONNECT_TIMEOUT, UpstreamError};
use crate::config::UpstreamConfig;
use crate::tls;

/// How often names are looked up and files for TLS are looked at.
const REFRESH: Duration = Duration::from_secs(5);
/// A name is not looked up more often, whatever happens.
const REST: Duration = Duration::from_millis(200);
/// How long a replica is left alone after the first failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Calls without an answer, in a row, after which a replica counts as out of reach.
const MAX_SILENT: usize = 3;

/// All replicas of one service. Clones share them.
#[derive(Clone)]
pub(super) struct Replicas(Arc<Shared>);

struct Shared {
    config: UpstreamConfig,
    uris: Vec<Uri>,
    current: RwLock<Vec<Arc<Replica>>>,
    /// Set once the name was looked up.
    found: watch::Sender<bool>,
    /// Asks for another look.
    stale: Notify,
}

/// One of them.
pub(super) struct Replica {
    address: SocketAddr,
    place: usize,
    channel: Channel,
    under_way: AtomicUsize,
    /// Calls in a row that got no answer.
    silent: AtomicUsize,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    /// Failures since it last answered.
    failures: u32,
    is_out: bool,
}

/// A call that is under way to a replica.
pub(super) struct Call {
    replica: Arc<Replica>,
}

impl Replicas {
    /// Those that the configuration names, which are looked up in the background for as long as anybody needs them.
    pub(super) fn new(config: &UpstreamConfig) -> Result<Self, UpstreamError> {
        let url = config.url.as_deref().ok_or(UpstreamError::NoUrl)?;
        let mut uris = Vec::new();
        for url in url.split(',') {
            // For its complaint.
            let endpoint = Endpoint::from_shared(url.trim().to_owned()).map_err(UpstreamError::Url)?;
            uris.push(endpoint.uri().clone());
        }
        let files = tls::client(config)?;
        let shared = Arc::new(Shared {
            config: config.clone(),
            uris,
            current: RwLock::default(),
            found: watch::Sender::new(false),
            stale: Notify::new(),
        });
        tokio::spawn(keep_current(Arc::downgrade(&shared), files));
        Ok(Self(shared))
    }

    /// The one to call next: of two at random that are in reach, the one with fewer calls under way. When none is in reach
    /// all are tried, since whoever calls wants to know.
    ///
    /// Waits for the first look-up. `None` when there are none.
    pub(super) async fn choose(&self, avoid: Option<&Arc<Replica>>) -> Option<Arc<Replica>> {
        let mut found = self.0.found.subscribe();
        // The sender lives as long as this.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, found.wait_for(|found| *found)).await;
        let all = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        let other = |replica: &&Arc<Replica>| avoid.is_none_or(|avoid| !Arc::ptr_eq(avoid, replica));
        let pick = |from: Vec<&Arc<Replica>>| -> Option<Arc<Replica>> {
            let (first, second) = two_of(from.len())?;
            let (first, second) = (from.get(first)?, from.get(second)?);
            let load = |replica: &Replica| replica.under_way.load(Ordering::Relaxed);
            Some(Arc::clone(if load(second) < load(first) { second } else { first }))
        };
        pick(all.iter().filter(other).filter(|replica| !replica.is_out()).collect())
            .or_else(|| pick(all.iter().filter(|replica| !replica.is_out()).collect()))
            .or_else(|| pick(all.iter().filter(other).collect()))
            .or_else(|| pick(all.iter().collect()))
    }

    /// Notes that no connection to it could be made, or that it broke: it is left alone until it can be reached again.
    pub(super) fn failed(&self, replica: &Arc<Replica>) {
        let pause = {
            let mut trouble = replica.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            trouble.failures = trouble.failures.saturating_add(1);
            if std::mem::replace(&mut trouble.is_out, true) {
                return;
            }
            LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(trouble.failures.saturating_sub(1).min(10)))
        };
        tracing::debug!(address = %replica.address, ?pause, "a replica is out of reach");
        // It may have gone for good, and others have come.
        self.0.stale.notify_one();
        let replica = Arc::downgrade(replica);
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            while let Some(replica) = replica.upgrade() {
                let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(replica.address));
                if matches!(connected.await, Ok(Ok(_))) {
                    replica.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_out = false;
                    return;
                }
                drop(replica);
                tokio::time::sleep(pause.max(FIRST_PAUSE * 4)).await;
            }
        });
    }

    /// Notes that a call with a deadline got no answer at all. After several in a row the next look makes a new connection:
    /// this one may be dead without anybody having said so.
    fn was_silent(&self, replica: &Arc<Replica>) {
        if replica.silent.fetch_add(1, Ordering::Relaxed) + 1 == MAX_SILENT {
            tracing::warn!(address = %replica.address, "a replica does not answer and is connected to anew");
            self.0.stale.notify_one();
        }
    }
}

impl Replica {
    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed) >= MAX_SILENT
    }

    fn is_out(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_out
    }

    /// Its connection, for one call.
    pub(super) fn begin(self: &Arc<Self>) -> (Channel, Call) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        (self.channel.clone(), Call { replica: Arc::clone(self) })
    }
}

impl Call {
    /// It answered.
    pub(super) fn answered(&self) {
        self.replica.silent.store(0, Ordering::Relaxed);
        let mut trouble = self.replica.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = Trouble::default();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.replica.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Notes, when it is dropped before an answer came, that there was none in the time that the caller had.
pub(super) struct Waiting<'a> {
    replicas: &'a Replicas,
    replica: &'a Arc<Replica>,
    deadline: Option<Instant>,
}

impl<'a> Waiting<'a> {
    /// From now on, for that long.
    pub(super) fn new(replicas: &'a Replicas, replica: &'a Arc<Replica>, limit: Option<Duration>) -> Self {
        // Timers are not exact.
        let deadline = limit.map(|limit| Instant::now() + limit.mul_f32(0.9));
        Self { replicas, replica, deadline }
    }

    /// There is an answer, or an error that says more.
    pub(super) fn over(mut self) {
        self.deadline = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.replicas.was_silent(self.replica);
        }
    }
}

/// Looks names up, and files for TLS, until nobody needs the replicas any more.
async fn keep_current(shared: Weak<Shared>, mut files: Option<tls::ClientFiles>) {
    while let Some(shared) = shared.upgrade() {
        let renewed = match &files {
            Some(known) if known.have_changed() => tls::client(&shared.config),
            _ => Ok(None),
        };
        let is_renewed = match renewed {
            Ok(Some(new)) => {
                tracing::info!("files for TLS have changed; connections are made anew");
                files = Some(new);
                true
            }
            Ok(None) => false,
            // Half written, or wrong: what was good stays.
            Err(error) => {
                tracing::warn!(%error, "new files for TLS cannot be used");
                false
            }
        };
        shared.look(files.as_ref().map(tls::ClientFiles::config), is_renewed).await;
        shared.found.send_replace(true);
        let _ = tokio::time::timeout(REFRESH, shared.stale.notified()).await;
        drop(shared);
        tokio::time::sleep(REST).await;
    }
}

impl Shared {
    /// Brings the replicas in line with what the names stand for now. A name that cannot be looked up stands for what it
    /// stood for. `is_renewed` asks for new connections to all; calls under way keep the old ones.
    async fn look(&self, tls: Option<ClientTlsConfig>, is_renewed: bool) {
        let mut wanted = Vec::new();
        for (place, uri) in self.uris.iter().enumerate() {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
            match tokio::time::timeout(CONNECT_TIMEOUT, lookup_host((host, port))).await {
                Ok(Ok(addresses)) => {
                    // In an order of their own, and each once.
                    let addresses: BTreeSet<SocketAddr> = addresses.collect();
                    wanted.extend(addresses.into_iter().map(|address| (place, address)));
                }
                failed => {
                    let problem = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer in time".to_owned(),
                    };
                    tracing::warn!(host, problem, "a name cannot be looked up");
                    let all = self.current.read().unwrap_or_else(PoisonError::into_inner);
                    let known = all.iter().filter(|replica| replica.place == place);
                    wanted.extend(known.map(|replica| (place, replica.address)));
                }
            }
        }
        let mut all = self.current.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|replica| {
            !is_renewed && !replica.is_silent() && wanted.contains(&(replica.place, replica.address))
        });
        for (place, address) in wanted {
            if all.iter().any(|replica| (replica.place, replica.address) == (place, address)) {
                continue;
            }
            match self.uris.get(place).map(|uri| super::channel(uri, address, tls.clone())) {
                Some(Ok(channel)) => all.push(Arc::new(Replica {
                    address,
                    place,
                    channel,
                    under_way: AtomicUsize::new(0),
                    silent: AtomicUsize::new(0),
                    trouble: Mutex::default(),
                })),
                Some(Err(error)) => tracing::error!(%error, %address, "a replica cannot be called"),
                None => {}
            }
        }
    }
}

/// Two different places at random, or the only one twice.
fn two_of(len: usize) -> Option<(usize, usize)> {
    match len {
        0 => None,
        1 => Some((0, 0)),
        len => {
            let first = rand::random_range(..len);
            let second = (first + rand::random_range(1..len)) % len;
            Some((first, second))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_different_where_there_are_two() {
        assert_eq!(two_of(0), None);
        assert_eq!(two_of(1), Some((0, 0)));
        for _ in 0..1000 {
            let (first, second) = two_of(3).unwrap();
            assert!(first != second && first < 3 && second < 3);
        }
    }
}
