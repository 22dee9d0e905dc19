//! Asking again: three tries, with a time limit for each and one for all. Where nothing answers at all it is over sooner.

use std::io;
use std::time::Duration;

use holdall_runtime::presence::Presence;
use object_store::Error;
use tokio::time::error::Elapsed;
use tracing::Instrument;

const TRIES: u32 = 3;
/// Before the second try, about; the next pause is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// How requests are tried.
#[derive(Clone, Debug)]
pub struct Tries {
    each: Duration,
    presence: Presence,
}

impl Tries {
    /// Tries that take `each` at most, and twice that all together, while the server is there.
    pub fn new(each: Duration, presence: Presence) -> Self {
        Self { each, presence }
    }

    /// Makes a request, again if that may help. For what may be done twice only.
    pub async fn run<T, F>(&self, what: &'static str, request: impl Fn() -> F) -> io::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let all = async {
            let mut failures = 0;
            loop {
                match self.within(request()).await.and_then(|result| result) {
                    Ok(value) => {
                        self.presence.heard();
                        return Ok(value);
                    }
                    Err(error) => {
                        failures += 1;
                        self.pause(what, failures, error).await?;
                    }
                }
            }
        };
        let span = tracing::debug_span!("s3", otel.name = what, otel.kind = "client", rpc.system = "aws-api");
        let all = tokio::time::timeout(2 * self.each, all.instrument(span));
        match self.presence.over(all).await {
            Ok(Ok(result)) => result,
            Ok(Err(elapsed)) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
            Err(silent) => Err(io::Error::new(io::ErrorKind::TimedOut, silent)),
        }
    }

    /// Waits before the next try, unless `error`, the last of so many `failures`, says that there should be none.
    pub async fn pause(&self, what: &'static str, failures: u32, error: Error) -> io::Result<()> {
        let error = classify(error);
        let may_pass = matches!(error.kind(), io::ErrorKind::Other | io::ErrorKind::TimedOut);
        if failures >= TRIES || !may_pass {
            return Err(error);
        }
        tracing::debug!(what, failures, %error, "a request to the object store failed and is made again");
        // With jitter, so that those who failed together do not come back together.
        let mut random = [0; 1];
        // Without randomness the pause is the same for all, and still a pause.
        let _ = getrandom::fill(&mut random);
        let [random] = random;
        let pause = PAUSE * 2_u32.saturating_pow(failures - 1);
        tokio::time::sleep(pause / 2 + pause * u32::from(random) / 256).await;
        Ok(())
    }

    /// The result, if it comes in the time of one request.
    pub async fn within<T>(&self, request: impl Future<Output = T>) -> object_store::Result<T> {
        tokio::time::timeout(self.each, request)
            .await
            .map_err(|elapsed| Error::Generic { store: "S3", source: elapsed.into() })
    }
}

/// What an answer means: `NotFound`, `AlreadyExists`, `PermissionDenied`, or what may go well the next time: `TimedOut`, `Other`.
fn classify(error: Error) -> io::Error {
    let kind = match &error {
        // The bucket is missing: nothing is said about objects.
        Error::NotFound { source, .. } if source.to_string().contains("NoSuchBucket") => {
            io::ErrorKind::PermissionDenied
        }
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::Generic { source, .. } if source.is::<Elapsed>() => io::ErrorKind::TimedOut,
        Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
