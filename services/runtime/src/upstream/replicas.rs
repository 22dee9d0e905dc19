//! The replicas of a service: found by name, looked up again and again, and left alone while they cannot be reached.
//!
//! Each has a circuit breaker. It opens when a connection cannot be made or breaks. While it is open the replica is asked
//! for its health, again and again and by nobody but us, and any answer closes it. A caller may try a replica whose breaker is
//! open only where finding out is quick, one caller at a time; when no replica is left, calls fail at once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use tokio::net::lookup_host;
use tokio::sync::{Notify, watch};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Uri};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{CONNECT_TIMEOUT, UpstreamError};
use crate::config::UpstreamConfig;
use crate::tls;

/// How often names are looked up and files for TLS are looked at.
const REFRESH: Duration = Duration::from_secs(5);
/// A name is not looked up more often, whatever happens.
const REST: Duration = Duration::from_millis(200);
/// How long a replica is left alone after the second failure; twice as long after each further one. After the first it is
/// asked at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a replica that is out of reach may take to say how it is.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two such questions, at most.
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// A replica of which we knew so soon that it cannot be reached may be tried by a caller.
const QUICK: Duration = Duration::from_millis(50);
/// How long a caller waits, when no replica is in reach, for one to come: a connection that broke is made anew in that time.
const NEWS: Duration = Duration::from_millis(75);
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
    /// Told when a replica is in reach again, and when a trial is over.
    news: Notify,
}

/// One of them.
pub(super) struct Replica {
    address: SocketAddr,
    place: usize,
    uri: Uri,
    tls: Option<ClientTlsConfig>,
    channel: RwLock<Channel>,
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
    /// It takes no time to find out that it is.
    is_quick: bool,
    /// A caller is finding out.
    is_tried: bool,
}

/// A call that is under way to a replica.
pub(super) struct Call {
    replica: Arc<Replica>,
}

/// The replica to call next.
pub(super) struct Choice {
    pub(super) replica: Arc<Replica>,
    /// Of one that is out of reach: nobody else tries it meanwhile.
    _trial: Option<Trial>,
}

struct Trial {
    shared: Arc<Shared>,
    replica: Arc<Replica>,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.replica.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_tried = false;
        self.shared.news.notify_waiters();
    }
}

/// Why there is no replica to call.
#[derive(Debug)]
pub(super) enum Nobody {
    /// The name stands for no address.
    Known,
    /// All are out of reach.
    InReach,
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
            news: Notify::new(),
        });
        tokio::spawn(keep_current(Arc::downgrade(&shared), files));
        Ok(Self(shared))
    }

    /// The one to call next: of two at random that are in reach, the one with fewer calls under way, and not `avoid` if there
    /// is another. When none is in reach, one that may be tried; else whoever is finding out is waited for, but not for long.
    ///
    /// Waits for the first look-up.
    pub(super) async fn choose(&self, avoid: Option<&Arc<Replica>>) -> Result<Choice, Nobody> {
        let mut found = self.0.found.subscribe();
        // The sender lives as long as this.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, found.wait_for(|found| *found)).await;
        let until = tokio::time::Instant::now() + NEWS;
        loop {
            let news = self.0.news.notified();
            match self.choose_now(avoid) {
                Ok(choice) => return Ok(choice),
                Err(nobody) => {
                    if tokio::time::timeout_at(until, news).await.is_err() {
                        return Err(nobody);
                    }
                }
            }
        }
    }

    fn choose_now(&self, avoid: Option<&Arc<Replica>>) -> Result<Choice, Nobody> {
        let all = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return Err(Nobody::Known);
        }
        let other = |replica: &&Arc<Replica>| avoid.is_none_or(|avoid| !Arc::ptr_eq(avoid, replica));
        let pick = |from: Vec<&Arc<Replica>>| -> Option<Choice> {
            let (first, second) = two_of(from.len())?;
            let (first, second) = (from.get(first)?, from.get(second)?);
            let load = |replica: &Replica| replica.under_way.load(Ordering::Relaxed);
            let replica = Arc::clone(if load(second) < load(first) { second } else { first });
            Some(Choice { replica, _trial: None })
        };
        let in_reach = |replica: &&Arc<Replica>| !replica.is_out();
        if let Some(choice) = pick(all.iter().filter(other).filter(in_reach).collect())
            .or_else(|| pick(all.iter().filter(in_reach).collect()))
        {
            return Ok(choice);
        }
        for replica in all.iter().filter(other).chain(avoid) {
            let mut trouble = replica.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            if trouble.is_quick && !trouble.is_tried {
                trouble.is_tried = true;
                let trial = Trial { shared: Arc::clone(&self.0), replica: Arc::clone(replica) };
                return Ok(Choice { replica: Arc::clone(replica), _trial: Some(trial) });
            }
        }
        Err(Nobody::InReach)
    }

    /// Notes that no connection to it could be made, or that it broke, `after` so much time: it is left alone until it can be
    /// reached again.
    pub(super) fn failed(&self, replica: &Arc<Replica>, after: Duration) {
        self.0.is_out(replica, after < QUICK);
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

    fn new(
        address: SocketAddr,
        place: usize,
        uri: Uri,
        tls: Option<ClientTlsConfig>,
    ) -> Result<Self, tonic::transport::Error> {
        Ok(Self {
            channel: RwLock::new(super::channel(&uri, address, tls.clone())?),
            address,
            place,
            uri,
            tls,
            under_way: AtomicUsize::new(0),
            silent: AtomicUsize::new(0),
            trouble: Mutex::default(),
        })
    }

    /// Forgets all trouble but that somebody tries it.
    fn is_in(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = Trouble { is_tried: trouble.is_tried, ..Trouble::default() };
    }

    /// Whether it answers when it is asked for its health, whatever it says. It is asked over a new connection, which is then
    /// the one to use: the old one may be dead and not know it yet.
    async fn answers(&self) -> bool {
        let Ok(channel) = super::channel(&self.uri, self.address, self.tls.clone()) else { return false };
        let mut health = HealthClient::new(channel.clone());
        let asking = health.check(HealthCheckRequest::default());
        let answered = match tokio::time::timeout(PROBE_TIMEOUT, asking).await {
            Ok(Ok(_)) => true,
            // One that it gave has no cause here.
            Ok(Err(status)) => std::error::Error::source(&status).is_none(),
            Err(_) => false,
        };
        if answered {
            *self.channel.write().unwrap_or_else(PoisonError::into_inner) = channel;
        }
        answered
    }

    fn is_out(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_out
    }

    /// Its connection, for one call.
    pub(super) fn begin(self: &Arc<Self>) -> (Channel, Call) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let channel = self.channel.read().unwrap_or_else(PoisonError::into_inner).clone();
        (channel, Call { replica: Arc::clone(self) })
    }
}

impl Call {
    /// It answered.
    pub(super) fn answered(&self) {
        self.replica.silent.store(0, Ordering::Relaxed);
        self.replica.is_in();
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
    /// Leaves a replica alone, and asks how it is until it says so.
    fn is_out(self: &Arc<Self>, replica: &Arc<Replica>, is_quick: bool) {
        let pause = {
            let mut trouble = replica.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            trouble.failures = trouble.failures.saturating_add(1);
            trouble.is_quick = is_quick;
            if std::mem::replace(&mut trouble.is_out, true) {
                return;
            }
            match trouble.failures {
                1 => Duration::ZERO,
                more => LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(more.saturating_sub(2).min(10))),
            }
        };
        tracing::debug!(address = %replica.address, ?pause, "a replica is out of reach");
        // It may have gone for good, and others have come.
        self.stale.notify_one();
        let (shared, replica) = (Arc::downgrade(self), Arc::downgrade(replica));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            while let Some((shared, replica)) = shared.upgrade().zip(replica.upgrade()) {
                let asked = Instant::now();
                if replica.answers().await {
                    replica.is_in();
                    shared.news.notify_waiters();
                    return;
                }
                let is_quick = asked.elapsed() < QUICK;
                replica.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_quick = is_quick;
                drop((shared, replica));
                tokio::time::sleep(PROBE_PAUSE).await;
            }
        });
    }

    /// Brings the replicas in line with what the names stand for now. A name that cannot be looked up stands for what it
    /// stood for. `is_renewed` asks for new connections to all; calls under way keep the old ones.
    async fn look(self: &Arc<Self>, tls: Option<ClientTlsConfig>, is_renewed: bool) {
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
        let silent: Vec<_> =
            all.iter().filter(|replica| replica.is_silent()).map(|replica| replica.address).collect();
        all.retain(|replica| {
            !is_renewed && !replica.is_silent() && wanted.contains(&(replica.place, replica.address))
        });
        for (place, address) in wanted {
            if all.iter().any(|replica| (replica.place, replica.address) == (place, address)) {
                continue;
            }
            match self.uris.get(place).map(|uri| Replica::new(address, place, uri.clone(), tls.clone())) {
                Some(Ok(replica)) => {
                    let replica = Arc::new(replica);
                    // A new connection alone does not make it answer.
                    if silent.contains(&address) {
                        self.is_out(&replica, false);
                    }
                    all.push(replica);
                }
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
