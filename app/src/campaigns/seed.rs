//! Sample data for `daybook dev`.

use super::{CampaignState, campaign};
use crate::prelude::*;

/// Creates three campaigns and a history of changes by three people. Each step is a separate transaction, as with
/// requests. In the end Ada has two unread notifications, and Grace has none.
///
/// # Errors
/// [`Error::Internal`] for fewer than three people, and errors of the helpers.
pub async fn seed(database: &Database, people: &[Context]) -> Result<()> {
    let [ada, grace, linus, ..] = people else {
        return Err(Error::internal("the sample needs three people"));
    };
    let spring = create(
        database,
        ada,
        "Spring launch",
        Decimal::from(12_000),
        Some("client@example.com"),
    )
    .await?;
    let spring = raise_budget(database, grace, &spring, Decimal::from(15_000)).await?;
    let spring = transition(database, ada, &spring, CampaignState::Active, None).await?;
    transition(
        database,
        linus,
        &spring,
        CampaignState::Approved,
        Some("the client has signed"),
    )
    .await?;

    let summer = create(database, grace, "Summer sale", Decimal::new(450_050, 2), None).await?;
    let summer = transition(database, grace, &summer, CampaignState::Active, None).await?;
    transition(
        database,
        grace,
        &summer,
        CampaignState::Paused,
        Some("waiting for stock"),
    )
    .await?;

    let newsletter = create(database, linus, "Newsletter", Decimal::from(300), None).await?;
    let newsletter = rename(database, ada, &newsletter, "Autumn newsletter").await?;
    let newsletter = transition(database, linus, &newsletter, CampaignState::Active, None).await?;
    transition(
        database,
        grace,
        &newsletter,
        CampaignState::Done,
        Some("sent to everybody"),
    )
    .await?;
    Ok(())
}

async fn create(
    database: &Database,
    person: &Context,
    name: &str,
    budget: Decimal,
    client_email: Option<&str>,
) -> Result<campaign::Model> {
    let tx = begin(database, person).await?;
    let new = campaign::ActiveModel {
        name: Set(name.to_owned()),
        budget: Set(budget),
        client_email: Set(client_email.map(str::to_owned)),
        ..Default::default()
    };
    let created = create_model_with_event(&tx, new, Track::All).await?;
    tx.commit().await?;
    Ok(created)
}

async fn raise_budget(
    database: &Database,
    person: &Context,
    campaign: &campaign::Model,
    budget: Decimal,
) -> Result<campaign::Model> {
    change(
        database,
        person,
        campaign,
        campaign::ActiveModel {
            budget: Set(budget),
            ..Default::default()
        },
    )
    .await
}

async fn rename(
    database: &Database,
    person: &Context,
    campaign: &campaign::Model,
    name: &str,
) -> Result<campaign::Model> {
    change(
        database,
        person,
        campaign,
        campaign::ActiveModel {
            name: Set(name.to_owned()),
            ..Default::default()
        },
    )
    .await
}

async fn change(
    database: &Database,
    person: &Context,
    campaign: &campaign::Model,
    changes: campaign::ActiveModel,
) -> Result<campaign::Model> {
    let tx = begin(database, person).await?;
    let changed = update_model_with_event(&tx, campaign, changes, Track::All).await?;
    tx.commit().await?;
    Ok(changed)
}

async fn transition(
    database: &Database,
    person: &Context,
    campaign: &campaign::Model,
    state: CampaignState,
    reason: Option<&str>,
) -> Result<campaign::Model> {
    let tx = begin(database, person).await?;
    let moved = transition_model_with_event(&tx, campaign, campaign::Column::State, state.as_str(), reason).await?;
    tx.commit().await?;
    Ok(moved)
}

/// Begins a transaction with a new correlation id, so that every step is a separate story.
async fn begin(database: &Database, person: &Context) -> Result<TeamTx> {
    let context = Context {
        correlation_id: Uuid::new_v4(),
        ..person.clone()
    };
    database.begin(&context).await
}
