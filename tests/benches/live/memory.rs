//! The memory of an idle socket: each service runs in its own process, and its clients in this one.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use daybook_tests::live::LiveClient;
use sqlx::ConnectOptions;

use crate::setup::{Bench, SECRET, serve};
use crate::{bare, print};

/// The argument that makes this program the bare service.
pub(crate) const BARE_SERVER: &str = "--bare-server";
const SOCKETS: usize = 10_000;
/// The number of sockets before memory is first measured: code, pools and caches are then loaded.
const WARM_UP_SOCKETS: usize = 200;

pub(crate) async fn compare(bench: &Bench) {
    let thread_id = bench.threads(1).await[0];
    let url = bench.owner.to_url_lossy();
    let mut command = Command::new(env!("CARGO_BIN_EXE_daybook-under-test"));
    command
        .arg("serve")
        .env("DATABASE_URL", url.as_str())
        .env("DAYBOOK_JWT_SECRET", SECRET)
        .env("DAYBOOK_BIND", "127.0.0.1:0");
    let ours = Server::start(command);
    let ours_each = ours
        .bytes_per_socket(async |address| bench.follower(address, thread_id).await)
        .await;
    drop(ours);

    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(BARE_SERVER);
    let plain = Server::start(command);
    let bare_each = plain
        .bytes_per_socket(async |address| LiveClient::open(address, &format!("ws://{address}/live"), None).await)
        .await;
    print(
        "memory: each of 10,000 sockets; Daybook's follow a thread",
        &format!("{bare_each:.0} B"),
        &format!("{ours_each:.0} B"),
        ours_each / bare_each,
        None,
    );
}

/// Serves the bare service until the process is killed.
pub(crate) fn serve_bare() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (router, _sender) = bare::broadcaster();
        let address = serve(router).await;
        eprintln!("listening on http://{address}");
        std::future::pending::<()>().await;
    });
}

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("listening on http://")
                    .map(|(_, address)| address.trim().parse().unwrap())
            })
            .unwrap();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { process, address }
    }

    /// Returns the number of bytes by which its memory grows with each socket.
    async fn bytes_per_socket(&self, open: impl AsyncFn(SocketAddr) -> LiveClient) -> f64 {
        let mut sockets = Vec::with_capacity(SOCKETS);
        for _ in 0..WARM_UP_SOCKETS {
            sockets.push(open(self.address).await);
        }
        let before = self.resident_bytes();
        while sockets.len() < SOCKETS {
            sockets.push(open(self.address).await);
        }
        let after = self.resident_bytes();
        (after - before) / (SOCKETS - WARM_UP_SOCKETS) as f64
    }

    fn resident_bytes(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
        kilobytes * 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
