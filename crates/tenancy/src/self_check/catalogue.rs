//! Compares PostgreSQL's catalogue with what the applied migrations make: owners, row-level security, policies,
//! triggers, functions and grants.
//!
//! `catalogue.sql` reads the catalogue as a list of SQL statements that would produce it. `migrated.txt` has the same
//! list for a freshly migrated database, grouped by object; the test `schema::catalogue` writes it. A statement that is
//! only in the file repairs its object. For a statement that is only in the catalogue, the query also returns the
//! statement that undoes it.
//!
//! **A user's own tables** are not in the file. Of these only the policies for requests are checked, where the table
//! has a column `team_id`. A policy that names neither `team_id` nor a setting of Daybook, such as `USING (true)`, is an
//! error. It is only a warning if the policy lets nobody in, reads another table (which has its own policies), or
//! depends on a role. **Not found:** a condition that names the team and yet is always true. (`mod.rs` checks that
//! row-level security is enabled and forced.)
//!
//! **Versions of PostgreSQL.** The texts of policies and triggers are compared as PostgreSQL prints them, which is the
//! same from 15 to 18. On other versions a difference in these texts alone is a warning.
//!
//! **Versions of the schema.** If the applied steps are not exactly those that this program knows, the schema belongs
//! to a newer or an older version of Daybook. Then this program can't tell Daybook's tables from a user's, so it
//! compares nothing and logs a warning.

use std::collections::BTreeMap;

use sea_orm_migration::MigratorTrait as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor as _, Row as _};

use super::findings::Findings;
use crate::clock::Clock;
use crate::error::Result;

const QUERY: &str = concat!("SET LOCAL search_path = pg_catalog;\n", include_str!("catalogue.sql"));
const MIGRATED: &str = include_str!("migrated.txt");
/// The releases of PostgreSQL that are known to print policies and triggers in the same way.
const COMPARED_RELEASES: std::ops::RangeInclusive<i32> = 15..=18;
/// How many statements are printed for one object.
const MAX_STATEMENTS: usize = 12;

/// One row of the query.
struct Fact {
    heading: String,
    object: String,
    kind: String,
    made: String,
    undone: Option<String>,
}

/// An object that is not as its migrations made it.
struct Difference<'a> {
    object: &'a str,
    expected: &'a [&'static str],
    missing: Vec<&'static str>,
    extra: Vec<&'a Fact>,
}

/// Compares the catalogue with the migrations of this version, in three queries.
///
/// # Errors
/// Those of any database statement.
pub(super) async fn compare(connection: &mut PgConnection, clock: &Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let server = connection.fetch_one(SERVER).await?;
    let is_of_this_version = is_of_this_version(connection, &server).await?;
    let began = clock.instant();
    let rows = sqlx::raw_sql(QUERY).fetch_all(&mut *connection).await?;
    let found = rows.iter().map(fact).collect::<Result<Vec<_>>>()?;
    let expected = expected();
    check_own_policies(&expected, &found, &mut findings);
    if !is_of_this_version {
        // The policies may belong to tables of another version's schema.
        findings.warned.append(&mut findings.refused);
        findings.warned.push(
            "the schema is not compared with its migrations: the applied ones are not those of this version, or the role \
             has no right to read their list; run `daybook migrate`, which applies them and grants the right"
                .to_owned(),
        );
        return Ok(findings);
    }
    let differences = differences(&expected, &found);
    tracing::debug!(
        "self-check: compared {} facts of the schema in {:?}",
        found.len(),
        clock.elapsed_since(began)
    );
    let owner: &str = server.try_get("owner")?;
    let is_compared_release = COMPARED_RELEASES.contains(&(server.try_get::<i32, _>("version")? / 10_000));
    for mut difference in differences {
        findings.warned.extend(difference.take_own_triggers());
        if difference.is_empty() {
            continue;
        }
        if !is_compared_release && difference.is_of_texts_alone() {
            findings.warned.push(difference.text(owner));
        } else {
            findings.refused.push(difference.text(owner));
        }
    }
    Ok(findings)
}

const SERVER: &str = "SELECT current_setting('server_version_num')::int AS version,
        quote_ident(pg_get_userbyid(c.relowner)) AS owner, has_table_privilege(c.oid, 'SELECT') AS readable
    FROM (SELECT to_regclass('public.daybook_migrations') AS oid) m LEFT JOIN pg_class c ON c.oid = m.oid";

/// Returns whether the applied steps are exactly those that this program knows.
async fn is_of_this_version(connection: &mut PgConnection, server: &PgRow) -> Result<bool> {
    if server.try_get::<Option<bool>, _>("readable")? != Some(true) {
        return Ok(false);
    }
    let rows = connection
        .fetch_all("SELECT version FROM public.daybook_migrations ORDER BY version")
        .await?;
    let applied: Vec<&str> = rows
        .iter()
        .map(|row| row.try_get("version"))
        .collect::<Result<_, _>>()?;
    let steps = daybook_migration::Migrator::migrations();
    let mut known: Vec<&str> = steps.iter().map(|step| step.name()).collect();
    known.sort_unstable();
    Ok(applied == known)
}

/// Returns the statements of a freshly migrated database, by heading.
fn expected() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut expected = BTreeMap::<_, Vec<_>>::new();
    let mut heading = "";
    for line in MIGRATED.lines() {
        if let Some(named) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            heading = named;
            expected.entry(heading).or_default();
        } else {
            expected.entry(heading).or_default().push(line);
        }
    }
    // Other roles than the workers' may do nothing with the queue.
    expected.entry("(queue)").or_default();
    expected
}

fn differences<'a>(expected: &'a BTreeMap<&'static str, Vec<&'static str>>, found: &'a [Fact]) -> Vec<Difference<'a>> {
    let mut objects = BTreeMap::<(&str, &str), Vec<&Fact>>::new();
    for heading in expected.keys().copied().filter(|heading| !heading.starts_with('(')) {
        objects.insert((heading, heading), Vec::new());
    }
    for fact in found {
        objects
            .entry((fact.heading.as_str(), fact.object.as_str()))
            .or_default()
            .push(fact);
    }
    let known = objects
        .into_iter()
        .filter_map(|((heading, object), facts)| Some((object, expected.get(heading)?, facts)));
    known
        .map(|(object, expected, facts)| Difference {
            object,
            expected,
            missing: expected
                .iter()
                .filter(|line| facts.iter().all(|fact| fact.made != **line))
                .copied()
                .collect(),
            extra: facts
                .into_iter()
                .filter(|fact| !expected.contains(&fact.made.as_str()))
                .collect(),
        })
        .filter(|difference| !difference.is_empty())
        .collect()
}

/// Checks the policies of tables that are not Daybook's.
fn check_own_policies(expected: &BTreeMap<&'static str, Vec<&'static str>>, found: &[Fact], findings: &mut Findings) {
    let of_own_tables = found
        .iter()
        .filter(|fact| !expected.contains_key(fact.heading.as_str()));
    for fact in of_own_tables {
        let object = &fact.object;
        let drop = fact.undone.as_deref().unwrap_or("drop it");
        if let Some(name) = fact.kind.strip_prefix("open policy ") {
            findings.refused.push(format!(
                "policy {name} on {object} shows requests the rows of every team, since its condition names neither its \
                 column team_id nor a setting of Daybook; {drop}"
            ));
        } else if let Some(name) = fact.kind.strip_prefix("unproven policy ") {
            findings.warned.push(format!(
                "policy {name} on {object} names neither its column team_id nor a setting of Daybook; if it shows \
                 requests rows of other teams, {drop}"
            ));
        }
    }
}

impl Difference<'_> {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }

    /// Removes triggers that a user's own migrations added, since they may be intended, and returns a warning for each.
    fn take_own_triggers(&mut self) -> Vec<String> {
        let (own, others): (Vec<&Fact>, Vec<&Fact>) = self.extra.drain(..).partition(|fact| {
            fact.kind.strip_prefix("trigger ").is_some_and(|name| {
                let named = format!("TRIGGER {name} ");
                !self.expected.iter().any(|line| line.contains(&named))
            })
        });
        self.extra = others;
        let drops = own.into_iter().filter_map(|fact| fact.undone.as_deref());
        drops
            .filter(|undone| undone.starts_with("DROP TRIGGER "))
            .map(|drop| {
                format!(
                    "{} has a trigger that no migration of Daybook made; if it is not intended, {drop}",
                    self.object
                )
            })
            .collect()
    }

    /// Returns whether the object has the same policies and triggers, and only their texts differ.
    fn is_of_texts_alone(&self) -> bool {
        let subject = |made: &str| made.split(" ON ").next().map(str::to_owned);
        let is_text = |made: &str| made.starts_with("CREATE POLICY ") || made.starts_with("CREATE TRIGGER ");
        self.missing.iter().all(|made| is_text(made))
            && self.extra.iter().all(|fact| is_text(&fact.made))
            && self.missing.len() == self.extra.len()
            && self
                .missing
                .iter()
                .all(|made| self.extra.iter().any(|fact| subject(&fact.made) == subject(made)))
    }

    fn text(&self, owner: &str) -> String {
        let undone = self.extra.iter().filter_map(|fact| fact.undone.clone());
        let made = self.missing.iter().map(|made| match made.strip_prefix("-- body of ") {
            Some(body) => format!(
                "give {} the body that it has in a freshly migrated database",
                body.rsplit_once(": ").map_or(body, |(function, _)| function)
            ),
            None => made
                .replace("public.<partition>", self.object)
                .replace("<owner>", owner),
        });
        let mut statements: Vec<String> = undone.chain(made).collect();
        if statements.len() > MAX_STATEMENTS {
            let rest = statements.split_off(MAX_STATEMENTS).len();
            statements.push(format!("and {rest} more statements"));
        }
        format!(
            "{} is not as its migrations made it; as {owner}: {}",
            self.object,
            statements.join("; ")
        )
    }
}

fn fact(row: &PgRow) -> Result<Fact> {
    Ok(Fact {
        heading: row.try_get("heading")?,
        object: row.try_get("object")?,
        kind: row.try_get("kind")?,
        made: row.try_get("made")?,
        undone: row.try_get("undone")?,
    })
}
