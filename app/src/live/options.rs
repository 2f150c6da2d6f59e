//! How the live socket behaves.

use std::time::Duration;

/// How the live socket behaves. The default is for a service; tests are less patient.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// How often the heads of followed topics are looked up, and whether their followers still may.
    pub look_every: Duration,
    /// How many readings for all may be under way at once.
    pub readers: usize,
    /// How long a frame may take to be taken by a client.
    pub write_patience: Duration,
    /// How often a client is asked whether it is there. One that hasn't answered by the next time is gone.
    pub ping_every: Duration,
    /// How many sockets this process serves at most.
    pub max_sockets: usize,
    /// Pages of these origins, such as `https://app.example.com`, may open sockets, beside the service's own.
    pub allowed_origins: Vec<String>,
    /// Hints are thrown away, and everything is found by looking: for tests.
    pub deaf: bool,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(1),
            readers: 3,
            write_patience: Duration::from_secs(10),
            ping_every: Duration::from_secs(30),
            max_sockets: 20_000,
            allowed_origins: Vec::new(),
            deaf: false,
        }
    }
}
