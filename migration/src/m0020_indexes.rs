//! Builds the indexes of the columns that the steps before added, and changes the keys of those indexes that the
//! planner could choose instead of the primary key.
//!
//! The other indexes of `threads`, `thread_followers` and `memberships` no longer begin with `team_id`. If the
//! statistics don't have a team yet, the planner expects one row of it. Then a search by the key `(team_id, id)` looks
//! equally cheap through any index that begins with `team_id`. The planner chose the wrong index, and each search read
//! the whole team.
//!
//! The step runs outside a transaction and builds each index beside the service's writes; see [`crate::online`].

use sea_orm_migration::prelude::*;

use crate::online::{Index, build_index, drop_index, replace_index, replace_unique_constraint};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const OWNERS_OF_KEYS: Index = Index {
    name: "api_keys_owner_idx",
    table: "api_keys",
    keys: "(team_id, owned_by)",
};
const UNREAD_OF_A_THREAD: Index = Index {
    name: "notifications_thread_idx",
    table: "notifications",
    keys: "(thread_id, team_id) WHERE read_at IS NULL",
};

/// The indexes and unique constraints with the keys that they have after this step.
const FOLLOWERS: Index = Index {
    name: "thread_followers_user_idx",
    table: "thread_followers",
    keys: "(user_id, team_id, thread_id)",
};
const HANDLES: Index = Index {
    name: "memberships_handle_key",
    table: "memberships",
    keys: "(handle, team_id)",
};
const OBJECTS: Index = Index {
    name: "threads_object_key",
    table: "threads",
    keys: "(object_type, team_id, object_id)",
};

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        build_index(connection, &OWNERS_OF_KEYS).await?;
        build_index(connection, &UNREAD_OF_A_THREAD).await?;
        replace_index(connection, &FOLLOWERS).await?;
        replace_unique_constraint(connection, &HANDLES).await?;
        replace_unique_constraint(connection, &OBJECTS).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        drop_index(connection, OWNERS_OF_KEYS.name).await?;
        drop_index(connection, UNREAD_OF_A_THREAD.name).await?;
        let with_keys = |index: &Index, keys| Index { keys, ..*index };
        replace_index(connection, &with_keys(&FOLLOWERS, "(team_id, user_id)")).await?;
        replace_unique_constraint(connection, &with_keys(&HANDLES, "(team_id, handle)")).await?;
        replace_unique_constraint(connection, &with_keys(&OBJECTS, "(team_id, object_type, object_id)")).await
    }
}
