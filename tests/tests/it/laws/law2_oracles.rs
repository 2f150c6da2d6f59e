//! Law 2, side channels: unique keys and foreign keys are checked without row-level security, so their errors must not
//! reveal another team's rows. And people are visible only through a common team.

use daybook::tenancy::Role;
use daybook_tests::{count, refusal, test_db};

use super::seed::seed;

/// `seed` gives both teams the same ids, prefixes, names and keys. That it can do so is half of the proof.
#[tokio::test]
async fn a_key_that_another_team_has_is_free() {
    let db = test_db().await;
    let (acme, rival) = (db.team("Acme").await, db.team("Rival").await);
    seed(&rival).await;
    let mut inside = acme.connection().await;
    let id = "01900000-0000-7000-8000-000000000001";
    for insert in [
        format!(
            "INSERT INTO widgets (team_id, id, name) VALUES ('{}', '{id}', 'w')",
            acme.id
        ),
        format!(
            "INSERT INTO threads (team_id, id, object_type, object_id, object_label, last_seq)
                VALUES ('{}', '{id}', 'widget', '{id}', 'w', 1)",
            acme.id
        ),
        format!(
            "INSERT INTO idempotency_keys (team_id, actor, key, request_sha256, correlation_id)
                VALUES ('{}', 'user', 'k', '', '{id}')",
            acme.id
        ),
    ] {
        assert_eq!(refusal(&mut inside, &insert).await, None, "{insert}");
    }
}

/// Each unique key contains the team, so a duplicate is only found inside the team. `teams` and `users` have other
/// keys: a UUIDv7, which can't be guessed, and an identity, which is visible to those who know it exactly.
#[tokio::test]
async fn every_unique_key_has_the_team_in_it() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    let keys: Vec<String> = sqlx::query_scalar(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
         WHERE c.relnamespace = 'public'::regnamespace AND i.indisunique AND c.relname NOT LIKE '%migrations'
           AND NOT EXISTS (SELECT FROM pg_attribute
                           WHERE attrelid = i.indrelid AND attnum = ANY (i.indkey) AND attname = 'team_id')
         ORDER BY 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(
        keys,
        [
            "consumer_cursors_pkey",
            // The run-time role can't write to it.
            "erased_people_pkey",
            "run_homes_pkey",
            "teams_pkey",
            "users_identity_key",
            "users_pkey"
        ]
    );
}

#[tokio::test]
async fn a_foreign_key_does_not_reveal_another_teams_row() {
    let db = test_db().await;
    let (acme, rival) = (db.team("Acme").await, db.team("Rival").await);
    seed(&rival).await;
    let mut inside = acme.connection().await;
    let message = |thread: &str| {
        format!(
            "INSERT INTO thread_messages (team_id, thread_id, seq, kind, event_id)
                VALUES ('{}', '{thread}', 1, 'system', '{thread}')",
            acme.id
        )
    };
    let theirs = refusal(&mut inside, &message("01900000-0000-7000-8000-000000000001"))
        .await
        .unwrap();
    let nobodys = refusal(&mut inside, &message("01900000-0000-7000-8000-00000000ffff"))
        .await
        .unwrap();
    assert_eq!(theirs, nobodys);
    assert_eq!(theirs.0, "23503");
}

/// A foreign key between team tables contains the team. Otherwise a row could refer to another team's row.
#[tokio::test]
async fn every_foreign_key_between_team_tables_has_the_team_in_it() {
    let db = test_db().await;
    let mut owner = db.owner().await;
    let without: Vec<String> = sqlx::query_scalar(
        "SELECT conrelid::regclass || ' → ' || confrelid::regclass FROM pg_constraint
         WHERE contype = 'f' AND connamespace = 'public'::regnamespace
           AND confrelid NOT IN ('teams'::regclass, 'users'::regclass)
           AND NOT (SELECT attname = 'team_id' FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1])
         ORDER BY 1",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert!(without.is_empty(), "{without:?}");
}

#[tokio::test]
async fn people_are_seen_through_a_common_team_only() {
    let db = test_db().await;
    let (acme, rival, empty) = (db.team("Acme").await, db.team("Rival").await, db.team("Empty").await);
    let ada = acme.member("ada", Role::Owner).await;
    acme.member("bob", Role::Member).await;
    let eve = rival.member("eve", Role::Owner).await;
    let both = rival.member("bob", Role::Viewer).await;

    let mut inside = acme.connection().await;
    let seen: Vec<String> = sqlx::query_scalar("SELECT display_name FROM users ORDER BY display_name")
        .fetch_all(&mut inside)
        .await
        .unwrap();
    assert_eq!(seen, ["Ada", "Bob"]);
    assert_eq!(count(&mut empty.connection().await, "users").await, 0);

    // A person in two teams is visible in both, but their membership in the other team is not.
    let memberships: i64 = sqlx::query_scalar("SELECT count(*) FROM memberships WHERE user_id = $1")
        .bind(both.user_id)
        .fetch_one(&mut inside)
        .await
        .unwrap();
    assert_eq!(memberships, 1);

    // A common team allows reading. A change needs the exact identity.
    let rename = format!("UPDATE users SET display_name = 'Mallory' WHERE id = '{}'", ada.user_id);
    let touched = sqlx::raw_sql(sqlx::AssertSqlSafe(rename))
        .execute(&mut inside)
        .await
        .unwrap()
        .rows_affected();
    assert_eq!(touched, 0);

    // With an identity set, only that row is visible.
    let mut nobody = db.app_connection().await;
    sqlx::query("SELECT set_config('daybook.issuer', $1, false), set_config('daybook.subject', 'eve', false)")
        .bind(&eve.issuer)
        .execute(&mut nobody)
        .await
        .unwrap();
    let seen: Vec<uuid::Uuid> = sqlx::query_scalar("SELECT id FROM users")
        .fetch_all(&mut nobody)
        .await
        .unwrap();
    assert_eq!(seen, [eve.user_id]);
}

/// A person's own memberships in all teams are visible if no team is entered, for "which teams am I in?". Inside a team
/// they are rows of another team, like any other.
#[tokio::test]
async fn inside_a_team_ones_other_teams_are_not_seen() {
    let db = test_db().await;
    let database = db.database().await;
    let (acme, rival) = (db.team("Acme").await, db.team("Rival").await);
    let ada = acme.member("ada", Role::Owner).await;
    rival.member("ada", Role::Owner).await;
    for entry in [ada.entry(), ada.entry().read_only()] {
        let tx = database.enter(&entry).await.unwrap();
        for table in ["memberships", "teams"] {
            let sql = format!("SELECT FROM {table}");
            let rows = tx.fetch_all(sqlx::query(sqlx::AssertSqlSafe(sql))).await.unwrap();
            assert_eq!(rows.len(), 1, "{table}");
        }
    }
    assert_eq!(
        database
            .own_teams(&ada.issuer, "ada")
            .await
            .unwrap()
            .unwrap()
            .teams
            .len(),
        2
    );
}

#[tokio::test]
async fn own_teams_are_found_by_identity_and_no_others() {
    let db = test_db().await;
    let database = db.database().await;
    let (acme, rival) = (db.team("Acme").await, db.team("Rival").await);
    let ada = acme.member("ada", Role::Owner).await;
    acme.member("bob", Role::Member).await;
    rival.member("bob", Role::Viewer).await;

    let own = database.own_teams(&ada.issuer, "bob").await.unwrap().unwrap();
    let teams: Vec<_> = own.teams.iter().map(|team| (team.id, team.role)).collect();
    assert_eq!(teams, [(acme.id, Role::Member), (rival.id, Role::Viewer)]);
    let own = database.own_teams(&ada.issuer, "ada").await.unwrap().unwrap();
    assert_eq!(own.teams.len(), 1);
    assert_eq!(database.own_teams(&ada.issuer, "nobody").await.unwrap(), None);
    assert_eq!(database.own_teams("https://another.test", "ada").await.unwrap(), None);
}
