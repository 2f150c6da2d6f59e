//! A little history, so that `daybook dev` has something to show.

use daybook_entity::campaign;

use super::State;
use crate::prelude::*;

/// Plants three campaigns and what three people did with them. Each step is a transaction of its own, as
/// requests would be. Ada is left with two things to read, Grace with none.
///
/// # Errors
/// [`Error::Internal`] for less than three people; what the helpers fail with.
pub async fn plant(database: &Database, people: &[Context]) -> Result<()> {
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
    let spring = raise(database, grace, &spring, Decimal::from(15_000)).await?;
    let spring = step(database, ada, &spring, State::Active, None).await?;
    step(database, linus, &spring, State::Approved, Some("the client has signed")).await?;

    let summer = create(database, grace, "Summer sale", Decimal::new(450_050, 2), None).await?;
    let summer = step(database, grace, &summer, State::Active, None).await?;
    step(database, grace, &summer, State::Paused, Some("waiting for stock")).await?;

    let letter = create(database, linus, "Newsletter", Decimal::from(300), None).await?;
    let letter = rename(database, ada, &letter, "Autumn newsletter").await?;
    let letter = step(database, linus, &letter, State::Active, None).await?;
    step(database, grace, &letter, State::Done, Some("sent to everybody")).await?;
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

async fn raise(
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

async fn step(
    database: &Database,
    person: &Context,
    campaign: &campaign::Model,
    state: State,
    reason: Option<&str>,
) -> Result<campaign::Model> {
    let tx = begin(database, person).await?;
    let moved = transition_model_with_event(&tx, campaign, campaign::Column::State, state.as_str(), reason).await?;
    tx.commit().await?;
    Ok(moved)
}

/// Every step is a story of its own.
async fn begin(database: &Database, person: &Context) -> Result<TeamTx> {
    let context = Context {
        correlation_id: Uuid::new_v4(),
        ..person.clone()
    };
    database.begin(&context).await
}
