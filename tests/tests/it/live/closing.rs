//! Tests of opening and closing a socket as RFC 6455 requires.

use axum::http::HeaderValue;
use daybook_tests::live::LiveClient;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::LiveFixture;

#[tokio::test]
async fn a_client_that_closes_is_answered_with_its_own_code() {
    let fixture = LiveFixture::new().await;
    for code in [1000, 1001, 4000] {
        let mut live = fixture.connect(&fixture.grace).await;
        let frame = CloseFrame {
            code: code.into(),
            reason: "done".into(),
        };
        live.0.send(Message::Close(Some(frame))).await.unwrap();
        assert_eq!(live.wait_for_close().await.0, code);
        assert!(live.0.next().await.is_none(), "then the connection is closed");
    }
    let mut live = fixture.connect(&fixture.grace).await;
    live.0.send(Message::Close(None)).await.unwrap();
    assert!(matches!(live.0.next().await, Some(Ok(Message::Close(None)))));
    daybook_tests::eventually("all sockets are closed", async || fixture.app.live.open_sockets() == 0).await;
}

/// Encodes a client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn an_invalid_frame_closes_the_socket_with_its_code() {
    let fixture = LiveFixture::new().await;
    for (name, bytes, code) in [
        ("a text that is not UTF-8", frame(0x81, b"\xff\xfe"), 1007),
        (
            "an incomplete character",
            frame(0x81, "é".as_bytes().get(..1).unwrap()),
            1007,
        ),
        ("a frame without a mask", vec![0x81, 1, b'a'], 1002),
        ("a reserved opcode", frame(0x83, b"a"), 1002),
        ("a reserved bit", frame(0xC1, b"a"), 1002),
        ("a ping that is not final", frame(0x09, b"a"), 1002),
        ("a continuation without a beginning", frame(0x80, b"a"), 1002),
        ("a close with an incomplete code", frame(0x88, b"\x03"), 1002),
        (
            "a close with a reserved code",
            frame(0x88, &1005_u16.to_be_bytes()),
            1002,
        ),
        ("a close whose reason is not UTF-8", frame(0x88, b"\x03\xe8\xff"), 1007),
    ] {
        let mut live = fixture.connect(&fixture.grace).await;
        live.0.get_mut().write_all(&bytes).await.unwrap();
        assert_eq!(live.wait_for_close().await.0, code, "{name}");
    }
    daybook_tests::eventually("all sockets are closed", async || fixture.app.live.open_sockets() == 0).await;
    let events = fixture.app.wide_events().await;
    let codes = events.iter().filter(|event| event["close_code"] == 1007);
    assert_eq!(codes.count(), 3);
}

#[tokio::test]
async fn an_invalid_websocket_key_is_rejected() {
    let fixture = LiveFixture::new().await;
    let request = || LiveClient::request(fixture.address, &fixture.grace, "");
    for key in [
        "",
        "short",
        "AAAAAAAAAAAAAAAAAAAA",
        "!!!!!!!!!!!!!!!!!!!!!!==",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ] {
        let mut request = request();
        request
            .headers_mut()
            .insert("sec-websocket-key", HeaderValue::from_static(key));
        let (status, problem) = LiveClient::try_connect(fixture.address, request).await.unwrap_err();
        assert_eq!(status, 400, "{key:?}: {problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains("Sec-WebSocket-Key"),
            "{problem}"
        );
    }
    let own = format!("http://{}", fixture.address);
    for (name, value) in [("origin", "https://evil.example"), ("authorization", "Bearer x")] {
        let mut request = request();
        request
            .headers_mut()
            .insert("origin", HeaderValue::from_str(&own).unwrap());
        request.headers_mut().append(name, HeaderValue::from_static(value));
        let (status, problem) = LiveClient::try_connect(fixture.address, request).await.unwrap_err();
        assert_eq!(status, 400, "{name}: {problem}");
    }
}
