//! Tests of the service's task without a database and without sockets.

use futures_util::FutureExt as _;

use super::*;
use crate::error::Error;
use crate::live::outbox::{self, InboxItem, SocketInbox};

fn join(socket: u64) -> (SocketCommand, SocketInbox) {
    let (outbox, inbox) = outbox::pair();
    let member = TeamMember {
        team_id: Uuid::nil(),
        id: MemberId::ApiKey(Uuid::nil()),
    };
    let socket = SocketId(socket);
    (SocketCommand::Join { socket, member, outbox }, inbox)
}

fn control(inbox: &mut SocketInbox) -> Vec<ControlSignal> {
    match inbox.next().now_or_never() {
        Some(InboxItem::Control(signals)) => signals,
        other => panic!("no control signal: {other:?}"),
    }
}

/// A socket may be upgraded while the service closes the others, which waits until all are closed.
#[test]
fn a_socket_that_joins_after_the_close_is_told_to_go() {
    let mut state = LiveState::default();
    let ((early, mut early_inbox), (late, mut late_inbox)) = (join(1), join(2));
    for command in [early, SocketCommand::Close, late] {
        assert_eq!(state.apply_command(command), []);
    }
    for inbox in [&mut early_inbox, &mut late_inbox] {
        assert_eq!(control(inbox), [ControlSignal::GoingAway]);
    }
}

/// The look-up in progress may have read the database before the change that led to the second one.
#[tokio::test]
async fn a_look_up_that_is_requested_during_another_one_follows_it() {
    let (_commands, received) = mpsc::unbounded_channel();
    let mut service = LiveService::new(
        Database::unconnected(),
        LiveOptions::default(),
        received,
        Mailbox::default(),
    );
    let (mut tasks, permits) = (JoinSet::new(), Arc::new(Semaphore::new(1)));
    let team_id = Uuid::nil();
    let look_up = || HubAction::LookUp { team_id };
    let ended = || FinishedRead::LookUp {
        team_id,
        result: Err(Error::internal("the database is away")),
    };
    for requested in [1, 2, 3] {
        service.perform(look_up(), &mut tasks, &permits);
        assert_eq!(tasks.len(), 1, "after {requested} requests");
    }
    assert_eq!(service.state.finished(ended()), [look_up()]);
    service.perform(look_up(), &mut tasks, &permits);
    assert_eq!(service.state.finished(ended()), [], "nothing was requested since");
}
