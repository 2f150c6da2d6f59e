//! A client with little overhead: requests are built in advance, and only the length of responses is read.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that stays open.
pub(crate) struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// Returns the bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            buffer: Vec::new(),
        }
    }

    /// Sends a request, and reads its complete response. A response without `Content-Length` counts as empty.
    pub(crate) async fn send_request(&mut self, request: &[u8]) -> Vec<u8> {
        self.socket.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
                assert!(head.starts_with("HTTP/1.1 2"), "{head}");
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let whole = end + 4 + length.map_or(0, |length| length.parse().unwrap());
                while self.buffer.len() < whole {
                    self.read().await;
                }
                return self.buffer[end + 4..whole].to_vec();
            }
            self.read().await;
        }
    }

    /// Sends a request, and returns the time of the body's first byte, and the number of bytes up to `most`.
    pub(crate) async fn drain(mut self, request: &[u8], most: u64) -> (std::time::Duration, u64) {
        let began = std::time::Instant::now();
        self.socket.write_all(request).await.unwrap();
        let mut block = vec![0; 1 << 18];
        let mut got = 0;
        let mut first = None;
        let mut head = Vec::new();
        while got < most {
            let read = self.socket.read(&mut block).await.unwrap();
            if read == 0 {
                break;
            }
            if first.is_some() {
                got += read as u64;
                continue;
            }
            head.extend_from_slice(&block[..read]);
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n")
                && head.len() > end + 4
            {
                first = Some(began.elapsed());
                got += (head.len() - end - 4) as u64;
            }
        }
        (first.unwrap(), got)
    }

    async fn read(&mut self) {
        let read = self.socket.read_buf(&mut self.buffer).await.unwrap();
        assert!(read > 0, "the server closed the connection");
    }
}
