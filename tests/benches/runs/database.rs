//! The size of a run in the database, which does not depend on the length of its log.

use crate::client::Connection;
use crate::service::Service;

pub(crate) async fn measure(service: &Service) {
    let mut measured = Vec::new();
    for lines in [10, 1_000_000] {
        let mut connection = Connection::open(service.port).await;
        let run = service.run(&mut connection).await;
        service.append(&mut connection, &run, lines).await;
        service.complete(&mut connection, &run).await;
        let mut owner = service.owner().await;
        let (rows, bytes): (i64, i64) = sqlx::query_as(
            "WITH entered AS MATERIALIZED (SELECT set_config('daybook.team_id', $1::text, false))
             SELECT count(*), sum(bytes)::bigint FROM entered, LATERAL (
                SELECT pg_column_size(r.*) AS bytes FROM runs r WHERE r.team_id = $1 AND r.id = $2
                UNION ALL SELECT pg_column_size(l.*) FROM run_leases l WHERE l.team_id = $1 AND l.run_id = $2
                UNION ALL SELECT pg_column_size(e.*) FROM events e WHERE e.team_id = $1 AND e.object_id = $2::text
                UNION ALL SELECT pg_column_size(t.*) FROM threads t WHERE t.team_id = $1 AND t.object_id = $2::text
             ) x",
        )
        .bind(service.team_id)
        .bind(run.parse::<uuid::Uuid>().unwrap())
        .fetch_one(&mut owner)
        .await
        .unwrap();
        measured.push((lines, rows, bytes));
    }
    for (lines, rows, bytes) in measured {
        println!(
            "{:<58} {rows:>9} rows {bytes:>8} bytes",
            format!("in the database, a run of {lines} lines")
        );
    }
}
