//! A job that thanks a guest who has left. It runs after the commit of the deletion.

use std::fmt;

use daybook::prelude::*;

/// Thanks a guest. Its fields are the job's input.
#[derive(Debug, Serialize, Deserialize)]
pub struct ThankGuest {
    /// The guest's name.
    pub name: String,
}

/// The job's actions.
#[derive(Debug, Serialize)]
enum ThankAction {
    Written { letters: usize },
}

impl fmt::Display for ThankAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written { letters } => write!(f, "Wrote {} letters of thanks", badge("letters", letters)),
        }
    }
}

#[async_trait]
impl Job for ThankGuest {
    const NAME: &'static str = "thank_guest";

    fn sentence(&self) -> String {
        format!("Started thanking {}", badge("guest", &self.name))
    }

    async fn run(self, session: &JobSession) -> JobResult {
        let thanks = format!("Dear {}, thank you for coming.", self.name);
        let letters = thanks.chars().count();
        session.add_action(&ThankAction::Written { letters }).await?;
        Ok(())
    }
}
